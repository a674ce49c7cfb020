/**
 * The port `ReportQueue` of a worker with an outbox: what the broker does not take is held back on this machine's
 * disk, and goes out in order when it takes it again, also after a restart.
 *
 *   sent ──confirmed──► gone
 *     └─ not within 1 s, refused, or the link is down ──► written, synced: safe here ──► sent ──confirmed──► deleted
 *                                                                └─ the disk fails ──► the sender's, as without it
 *
 * Order. While anything is held back, what comes is held back behind it. What went directly and is unconfirmed is
 * written together, in its order, when the first of it fails or is late, and nothing held back is sent before the
 * last of it has been answered. While the last of what is held back is under way, what comes waits in memory for its
 * end, and goes directly then: else a busy worker would go on writing for ever.
 *
 * Nothing is forgotten before a confirmation, so a report may arrive twice: after a crash between the confirmation
 * and the deletion, or when a batch was confirmed in part. The tracker's token rule takes the first one.
 */
import type { LogLine, Report, SignalNotice } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Meter } from "../../actors/ports/meter.ts";
import type { HeldBack, ProgressReport, ReportQueue } from "../../actors/ports/queue.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { Alarm } from "./alarm.ts";
import type { HeldFile, Origin } from "./held_file.ts";
import type { LockedFile, OutboxFolder } from "./outbox_folder.ts";

/** The way to the broker. */
export interface Wire extends ReportQueue {
  /** False while it is known that nothing can be sent. */
  readonly takesReports: boolean;
}

export interface OutboxOptions {
  readonly wire: Wire;
  readonly folder: OutboxFolder;
  readonly origin: Origin;
  /** Milliseconds between two looks for orphans; less than a lease, so that their runs are not taken for lost. */
  readonly lookEachMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
}

/** How long the broker may take to confirm. Less than any grace of a stop. */
const CONFIRM_WITHIN_MS = 1000;
const AGAIN_MS = 250;
const REPORTS_A_PAGE = 200;
const LINE_BATCHES_A_PAGE = 4;
/**
 * Beyond so many each further report waits before its message may be acknowledged. A broker that gives jobs and takes
 * no reports (a memory alarm) would fill the disk; like this it gives no more than a prefetch each two seconds.
 */
const SLOW_BEYOND = 20_000;
const SLOW_MS = 2000;
/** Log lines kept on disk. Further ones wait in memory, where the oldest go when they are too many. */
const LINES_AT_MOST = 50_000;

/** Reports that went directly and are not answered. */
interface Sent {
  readonly reports: readonly Report[];
  /** Monotonic moment. */
  readonly sentAt: number;
  readonly done: (error: Error | null) => void;
  /** Their rows when they are written: null when the disk did not take them. Itself null until that is tried. */
  kept: Promise<readonly number[] | null> | null;
  /** The disk did not take them. */
  isRefused: boolean;
  /** Why it failed on the way. */
  error: Error | null;
}

/** Reports that wait for the end of the last page. */
interface Gated {
  readonly reports: readonly Report[];
  readonly settle: (sending: Promise<void>) => void;
}

export class Outbox implements ReportQueue {
  /** Adopted ones first, then the own one. */
  #files: LockedFile[] = [];
  #own: LockedFile | null = null;
  readonly #sent = new Set<Sent>();
  #gated: Gated[] = [];
  #cancelGate: () => void = () => {};
  /** Writes that are not on the disk yet. */
  readonly #writes = new Set<Promise<unknown>>();
  /** The rest of what is held back is under way. */
  #isLastUnderWay = false;
  #sending: Promise<void> | null = null;
  #cancelLook: () => void = () => {};
  #cancelWatch: (() => void) | null = null;
  readonly #pauses = new Set<() => void>();
  /** Files that are being closed. */
  readonly #releasing = new Set<Promise<void>>();
  #isClosed = false;
  readonly #disk: Alarm;
  readonly #broker: Alarm;

  constructor(private readonly options: OutboxOptions) {
    const { log } = options;
    this.#disk = new Alarm(log, {
      raised: "Cannot write to the outbox: reports wait in memory and are lost with this process",
      over: "The outbox can be written again",
    });
    this.#broker = new Alarm(log, {
      raised: "RabbitMQ takes no reports: they are held back on disk",
      over: "All reports that were held back have gone",
    });
    this.#look();
  }

  /** Reports that are held back. */
  get count(): number {
    return this.#files.reduce((sum, { held }) => sum + held.count, 0);
  }

  /** Log lines that are held back. */
  get lineCount(): number {
    return this.#files.reduce((sum, { held }) => sum + held.lineCount, 0);
  }

  heldBack(): HeldBack {
    return { count: this.count, ended: this.#files.flatMap(({ held }) => [...held.ended()]) };
  }

  async sendReports(reports: readonly Report[]): Promise<void> {
    if (reports.length === 0) return;
    if (this.#isClosed) throw new Unavailable("Cannot send reports: closed");
    if (!this.options.wire.takesReports) return await this.#hold(reports);
    if (this.#isLastUnderWay && this.#writes.size === 0) return await this.#gate(reports);
    if (this.count + this.#writes.size > 0) return await this.#hold(reports);
    return await this.#send(reports);
  }

  /** Best effort: on disk up to a bound, beyond it the sender's. */
  async sendLines(lines: readonly LogLine[]): Promise<void> {
    const { wire } = this.options;
    let failure: unknown = new Unavailable("Cannot send lines: RabbitMQ is away");
    if (wire.takesReports) {
      try {
        return await wire.sendLines(lines);
      } catch (error) {
        failure = error;
      }
    }
    const own = this.#ownFile();
    if (own === null || this.#isClosed || this.lineCount + lines.length > LINES_AT_MOST) throw failure;
    await own.appendLines(lines);
    this.#wake();
  }

  sendProgress(progress: ProgressReport): void {
    this.options.wire.sendProgress(progress);
  }

  sendSignal(signal: SignalNotice): void {
    this.options.wire.sendSignal(signal);
  }

  receive(handlers: Parameters<ReportQueue["receive"]>[0]): ReturnType<ReportQueue["receive"]> {
    return this.options.wire.receive(handlers);
  }

  /** Writes what is unconfirmed, within a second or so, and leaves the files to the next instance. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelLook();
    this.#cancelWatch?.();
    for (const end of [...this.#pauses]) end();
    this.#openGate((reports) => this.#hold(reports));
    this.#keepSent();
    await Promise.all([...this.#sent].map(({ kept }) => kept));
    await Promise.race([this.#sending, this.#pause(CONFIRM_WITHIN_MS, { even: "closed" })]);
    for (const end of [...this.#pauses]) end();
    await Promise.all(this.#writes);
    const { count } = this;
    this.#own = null;
    for (const file of this.#files.splice(0)) this.#release(file);
    await Promise.all(this.#releasing);
    if (count > 0) {
      this.options.log.warn("Reports are left in the outbox, the next start sends them", { reports: count });
    }
  }

  // ------------------------------------------------------------------------------------------ to the broker

  #send(reports: readonly Report[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const one: Sent = {
        reports,
        done: (error) => error === null ? resolve() : reject(error),
        sentAt: this.options.clock.mono(),
        kept: null,
        isRefused: false,
        error: null,
      };
      this.#sent.add(one);
      this.#watchSent();
      this.options.wire.sendReports(reports).then(() => this.#confirmed(one), (error: Error) => {
        one.error = error;
        if (one.isRefused) one.done(error);
        else this.#keepSent();
        this.#answered(one);
      });
    });
  }

  #confirmed(one: Sent): void {
    this.#answered(one);
    one.done(null);
    // Written because it was late: on the disk it is not needed any more.
    void one.kept?.then((rows) => {
      const own = this.#own?.held;
      if (rows !== null && own !== undefined) this.#removeRows(own, rows);
    });
  }

  #answered(one: Sent): void {
    this.#sent.delete(one);
  }

  /** One timer for all, at the latest when the oldest is late: a timer a report would cost more than the report. */
  #watchSent(): void {
    if (this.#cancelWatch !== null || this.#isClosed) return;
    const [oldest] = this.#sent.values().filter(({ kept }) => kept === null);
    if (oldest === undefined) return;
    const { clock } = this.options;
    this.#cancelWatch = clock.timer(oldest.sentAt + CONFIRM_WITHIN_MS - clock.mono(), () => {
      this.#cancelWatch = null;
      const [first] = this.#sent.values().filter(({ kept }) => kept === null);
      if (first !== undefined && first.sentAt + CONFIRM_WITHIN_MS <= clock.mono()) this.#keepSent();
      else this.#watchSent();
    });
  }

  /** Writes all that went directly and is unconfirmed, in its order. What is still under way may yet be confirmed. */
  #keepSent(): void {
    for (const one of this.#sent) {
      if (one.kept !== null) continue;
      one.kept = this.#write(one.reports).then((rows) => {
        one.done(null);
        return rows;
      }, (error: Error) => {
        // Only its way to the broker is left, and then the sender.
        one.isRefused = true;
        if (one.error !== null || this.#isClosed) one.done(one.error ?? error);
        return null;
      });
    }
  }

  /** Waits in memory for the last page, no longer than the broker may take to confirm. */
  #gate(reports: readonly Report[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#gated.length === 0) {
        this.#cancelGate = this.options.clock.timer(
          CONFIRM_WITHIN_MS,
          () => this.#openGate((late) => this.#hold(late)),
        );
      }
      this.#gated.push({ reports, settle: (sending) => void sending.then(resolve, reject) });
    });
  }

  #openGate(way: (reports: readonly Report[]) => Promise<void>): void {
    this.#cancelGate();
    for (const { reports, settle } of this.#gated.splice(0)) settle(way(reports));
  }

  // --------------------------------------------------------------------------------------------- on the disk

  /** Behind all that came before. Settles when they are on the disk, or confirmed where the disk takes nothing. */
  async #hold(reports: readonly Report[]): Promise<void> {
    this.#openGate((before) => this.#hold(before));
    this.#keepSent();
    try {
      await this.#write(reports);
    } catch (error) {
      if (!this.options.wire.takesReports || this.#isClosed) throw error;
      return await this.options.wire.sendReports(reports);
    }
    if (this.count > SLOW_BEYOND) await this.#pause(SLOW_MS);
  }

  #write(reports: readonly Report[]): Promise<readonly number[]> {
    const { meter } = this.options;
    const writing = this.#append(reports).then((rows) => {
      meter.count("reports_held_back_total", reports.length);
      this.#disk.clear();
      this.#broker.raise(null);
      return rows;
    }, (error: Error) => {
      meter.count("outbox_write_failures_total");
      this.#disk.raise(error);
      throw error;
    });
    const over = writing.catch(() => {}).finally(() => {
      this.#writes.delete(over);
      this.#wake();
    });
    this.#writes.add(over);
    return writing;
  }

  async #append(reports: readonly Report[]): Promise<readonly number[]> {
    const own = this.#ownFile();
    if (own === null) throw new Unavailable("Cannot hold reports back: there is no outbox to write to");
    return await own.append(reports);
  }

  /** The own file, made when it is not there: the folder may have become writable. */
  #ownFile(): HeldFile | null {
    if (this.#own === null && !this.#isClosed) {
      try {
        this.#own = this.options.folder.create(this.options.origin);
        this.#files.push(this.#own);
      } catch (error) {
        this.#disk.raise(error as Error);
      }
    }
    return this.#own?.held ?? null;
  }

  /** Adopts what others have left, at the start and from time to time: a neighbour on this folder may have died. */
  #look(): void {
    const { folder, origin, clock, log, lookEachMs } = this.options;
    const hadOwn = this.#own !== null;
    const orphans = folder.adoptOrphans(origin.storeId);
    this.#files = [...this.#files.filter((file) => file !== this.#own), ...orphans];
    if (this.#own !== null) this.#files.push(this.#own);
    if (this.#ownFile() !== null && !hadOwn) this.#disk.clear();
    for (const file of orphans) {
      const { held } = file;
      if (held.count + held.lineCount > 0) {
        log.info("Adopted the outbox of an instance that has ended", {
          instance: held.origin?.instanceId ?? held.path,
          reports: held.count,
          lines: held.lineCount,
        });
      }
      this.#dropEmpty(file);
    }
    this.#cancelLook = clock.timer(lookEachMs, () => this.#look());
    this.#wake();
  }

  #wake(): void {
    if (this.#sending !== null || this.#isClosed || this.count + this.lineCount === 0) return;
    this.#sending = this.#sendHeld().finally(() => {
      this.#sending = null;
      this.#wake();
    });
  }

  /** Until nothing is held back. Never rejects. */
  async #sendHeld(): Promise<void> {
    const { wire, log } = this.options;
    while (!this.#isClosed && this.count + this.lineCount > 0) {
      if (!wire.takesReports || this.#sent.size > 0) {
        await this.#pause(AGAIN_MS);
        continue;
      }
      try {
        if (this.count > 0) await this.#sendPage();
        else await this.#sendLinePage();
      } catch (error) {
        log.debug("Cannot send what is held back, trying again: " + (error as Error).message);
        await this.#pause(AGAIN_MS);
      }
    }
  }

  async #sendPage(): Promise<void> {
    const file = this.#files.find(({ held }) => held.count > 0);
    if (file === undefined) return;
    const { rows, items } = file.held.page(REPORTS_A_PAGE);
    this.#isLastUnderWay = rows.length === this.count;
    try {
      await this.options.wire.sendReports(items);
    } catch (error) {
      this.#isLastUnderWay = false;
      this.#openGate((reports) => this.#hold(reports));
      throw error;
    }
    this.#isLastUnderWay = false;
    this.#removeRows(file.held, rows);
    this.#dropEmpty(file);
    const isEmpty = this.count + this.#writes.size === 0;
    if (isEmpty) this.#broker.clear();
    this.#openGate((reports) => isEmpty ? this.#send(reports) : this.#hold(reports));
  }

  async #sendLinePage(): Promise<void> {
    const file = this.#files.find(({ held }) => held.lineCount > 0);
    if (file === undefined) return;
    const { rows, items } = file.held.linePage(LINE_BATCHES_A_PAGE);
    await this.options.wire.sendLines(items.flat());
    file.held.removeLines(rows).catch((error) => this.#disk.raise(error));
    this.#dropEmpty(file);
  }

  #removeRows(file: HeldFile, rows: readonly number[]): void {
    file.remove(rows).catch((error) => this.#disk.raise(error));
  }

  /** An adopted file in which nothing waits any more goes. */
  #dropEmpty(file: LockedFile): void {
    if (file === this.#own || file.held.count + file.held.lineCount > 0) return;
    this.#files = this.#files.filter((one) => one !== file);
    this.#release(file);
  }

  #release(file: LockedFile): void {
    const releasing = file.release()
      .catch((error: Error) => this.options.log.warn("Cannot close an outbox: " + error.message))
      .finally(() => this.#releasing.delete(releasing));
    this.#releasing.add(releasing);
  }

  /** Ends early when the outbox is closed. */
  #pause(ms: number, options: { readonly even?: "closed" } = {}): Promise<void> {
    if (this.#isClosed && options.even === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        this.#pauses.delete(end);
        resolve();
      };
      const cancel = this.options.clock.timer(ms, end);
      this.#pauses.add(end);
    });
  }
}
