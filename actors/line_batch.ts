/** Collects log lines of all attempts of a process and sends them in batches, off the way of the reports. */
import type { LogLine } from "./domain/message.ts";
import type { Clock } from "./ports/clock.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { ReportQueue } from "./ports/queue.ts";

const SEND_AT = 500;
const SEND_AFTER_MS = 20;
/** A sender that is stuck must not fill the memory: beyond this the oldest lines go, counted. */
const KEEP_AT_MOST = 100_000;

export class LineBatch {
  #lines: LogLine[] = [];
  #cancelTimer: (() => void) | null = null;
  #sending: Promise<void> | null = null;

  constructor(
    private readonly deps: {
      readonly reports: Pick<ReportQueue, "sendLines">;
      readonly clock: Clock;
      readonly log: Log;
      readonly meter: Meter;
    },
  ) {}

  add(line: LogLine): void {
    this.#lines.push(line);
    if (this.#lines.length >= SEND_AT) this.#send();
    else this.#cancelTimer ??= this.deps.clock.timer(SEND_AFTER_MS, () => this.#send());
  }

  /** Settles when what was added before has been sent, or has failed once more. */
  async flush(): Promise<void> {
    await this.#sending;
    this.#send();
    await this.#sending;
  }

  #send(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (this.#sending !== null || this.#lines.length === 0) return;
    const batch = this.#lines;
    this.#lines = [];
    this.#sending = this.#deliver(batch);
  }

  async #deliver(batch: LogLine[]): Promise<void> {
    let failed = false;
    try {
      await this.deps.reports.sendLines(batch);
    } catch (error) {
      failed = true;
      this.deps.log.warn("Cannot send log lines: " + (error as Error).message, { lines: batch.length });
      this.#lines = batch.concat(this.#lines);
      const tooMany = this.#lines.length - KEEP_AT_MOST;
      if (tooMany > 0) {
        this.#lines.splice(0, tooMany);
        this.deps.meter.count("log_lines_dropped_total", tooMany);
      }
    }
    this.#sending = null;
    if (this.#lines.length >= SEND_AT && !failed) this.#send();
    else if (this.#lines.length > 0) {
      this.#cancelTimer ??= this.deps.clock.timer(failed ? 1000 : SEND_AFTER_MS, () => this.#send());
    }
  }
}
