/**
 * Reports, log lines and progress in process. At most one batch of each kind is with the receiver; what comes
 * meanwhile is the next batch. A sender's promise settles when the effects are committed, so nothing is ever in
 * memory alone once it has settled.
 */
import type { Clock } from "../../actors/ports/clock.ts";
import type { LogLine, Report, SignalNotice } from "../../actors/domain/message.ts";
import type { HeldBack, ProgressReport, ReportQueue } from "../../actors/ports/queue.ts";
import { nextTurn } from "./walk.ts";

const AGAIN_MS = 200;
const BATCH = 2000;

interface Waiting<T> {
  readonly items: readonly T[];
  readonly settle: () => void;
}

/** One kind of item on its way to the receiver. */
class Channel<T> {
  #waiting: Waiting<T>[] = [];
  #handler: ((items: readonly T[]) => Promise<void>) | null = null;
  #handing: Promise<void> | null = null;
  #cancelAgain: (() => void) | null = null;

  constructor(private readonly clock: Clock, private readonly turn: () => Promise<void>) {}

  send(items: readonly T[]): Promise<void> {
    if (items.length === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ items, settle: resolve });
    this.#hand();
    return promise;
  }

  receive(handler: (items: readonly T[]) => Promise<void>): void {
    this.#handler = handler;
    this.#hand();
  }

  /** No batch comes after this settles; what waits stays for the next receiver. */
  async stop(): Promise<void> {
    this.#handler = null;
    this.#cancelAgain?.();
    this.#cancelAgain = null;
    await this.#handing;
  }

  #hand(): void {
    if (this.#handing !== null || this.#handler === null || this.#cancelAgain !== null) return;
    if (this.#waiting.length === 0) return;
    this.#handing = this.#handOver(this.#handler);
  }

  async #handOver(handler: (items: readonly T[]) => Promise<void>): Promise<void> {
    // What is sent in the same turn of the event loop travels together.
    await this.turn();
    const batch = this.#takeBatch();
    try {
      await handler(batch.flatMap((one) => one.items));
      for (const one of batch) one.settle();
      this.#handing = null;
      this.#hand();
    } catch {
      // The receiver has said why; the same items come again, before younger ones.
      this.#waiting = batch.concat(this.#waiting);
      this.#handing = null;
      if (this.#handler !== null) {
        this.#cancelAgain = this.clock.timer(AGAIN_MS, () => {
          this.#cancelAgain = null;
          this.#hand();
        });
      }
    }
  }

  #takeBatch(): Waiting<T>[] {
    let count = 0;
    let senders = 0;
    while (senders < this.#waiting.length && count < BATCH) {
      count += this.#waiting[senders++]?.items.length ?? 0;
    }
    return this.#waiting.splice(0, senders);
  }
}

export class EmbeddedReportQueue implements ReportQueue {
  readonly #reports: Channel<Report>;
  readonly #lines: Channel<LogLine>;
  readonly #progress: Channel<ProgressReport>;
  readonly #signals: Channel<SignalNotice>;

  /** `turn`: lets the event loop go on once, so that what is sent meanwhile travels together. */
  constructor(clock: Clock, turn: () => Promise<void> = nextTurn) {
    this.#reports = new Channel(clock, turn);
    this.#lines = new Channel(clock, turn);
    this.#progress = new Channel(clock, turn);
    this.#signals = new Channel(clock, turn);
  }

  sendReports(reports: readonly Report[]): Promise<void> {
    return this.#reports.send(reports);
  }

  /** Nothing: what is not safe yet is the sender's. */
  heldBack(): HeldBack {
    return { count: 0, ended: [] };
  }

  sendLines(lines: readonly LogLine[]): Promise<void> {
    return this.#lines.send(lines);
  }

  sendProgress(progress: ProgressReport): void {
    void this.#progress.send([progress]);
  }

  sendSignal(signal: SignalNotice): void {
    void this.#signals.send([signal]);
  }

  receive(handlers: Parameters<ReportQueue["receive"]>[0]): Promise<{ stop(): Promise<void> }> {
    this.#reports.receive(handlers.reports);
    this.#lines.receive(handlers.lines);
    this.#progress.receive(handlers.progress);
    this.#signals.receive(handlers.signals);
    return Promise.resolve({
      stop: async () => {
        const channels = [this.#reports, this.#lines, this.#progress, this.#signals];
        await Promise.all(channels.map((one) => one.stop()));
      },
    });
  }
}
