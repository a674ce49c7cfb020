/**
 * What a guest says: everything in one message a turn of the event loop. A loop that never yields still gets its
 * words out, at most 50 ms late. Of an attempt's progress only the newest goes out, ten times a second.
 */
import { setImmediate } from "node:timers";
import { type GuestEntry, PROGRESS } from "./protocol.ts";

const HELD_AT_MOST_MS = 50;
const PROGRESS_EVERY_MS = 100;

// Taken before job code can change them.
const startTimer = setTimeout;
const monotonic = performance.now.bind(performance);

export class Voice {
  #entries: GuestEntry[] = [];
  #planned = false;
  #sentAt = 0;
  readonly #progress = new Map<number, readonly [done: number, total: number]>();
  #progressSaidAt = 0;

  constructor(private readonly post: (text: string) => void) {}

  say(entry: GuestEntry): void {
    this.#entries.push(entry);
    this.answer();
  }

  /** Sends what there is, if only an empty message: it tells the host that this thread yields. */
  answer(): void {
    if (!this.#planned) {
      this.#planned = true;
      this.#sentAt = monotonic();
      setImmediate(() => {
        this.#planned = false;
        this.#send();
      });
    } else if (monotonic() - this.#sentAt > HELD_AT_MOST_MS) this.#send();
  }

  progress(id: number, done: number, total: number): void {
    if (this.#progress.size === 0) {
      startTimer(() => this.#sayProgress(), PROGRESS_EVERY_MS);
      this.#progressSaidAt = monotonic();
    }
    this.#progress.set(id, [done, total]);
    // Code that never yields lets no timer run.
    if (monotonic() - this.#progressSaidAt > 2 * PROGRESS_EVERY_MS) this.#sayProgress();
  }

  /** What was held back of this attempt, before its last word. */
  lastProgress(id: number): void {
    const progress = this.#progress.get(id);
    if (progress === undefined) return;
    this.#progress.delete(id);
    this.say([PROGRESS, id, ...progress]);
  }

  #sayProgress(): void {
    for (const id of [...this.#progress.keys()]) this.lastProgress(id);
  }

  #send(): void {
    this.#sentAt = monotonic();
    const entries = this.#entries;
    this.#entries = [];
    this.post(JSON.stringify(entries));
  }
}
