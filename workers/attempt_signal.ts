/** The abort signal of an attempt. It can be polled by a loop that never yields and so gets no message. */
import type { AbortCode, Cells } from "./protocol.ts";

const MESSAGES: Readonly<Record<AbortCode, string>> = {
  timeout: "The time limit is reached",
  cancelled: "The occurrence was cancelled",
  "lease-lost": "The worker lost its lease",
  stopping: "The worker is stopping",
  sibling: "The thread is about to be ended because of another attempt",
  fault: "The attempt has failed by an error that nothing caught",
};

export class AttemptSignal {
  readonly #controller = new AbortController();
  #aborted = false;

  constructor(private readonly cells: Cells, private readonly cell: number, private readonly id: number) {
    const { signal } = this.#controller;
    // Each read looks into the memory that the host shares with this thread.
    const reader = (name: "aborted" | "reason") => ({
      configurable: true,
      get: (): unknown => {
        this.#look();
        return Reflect.get(AbortSignal.prototype, name, signal);
      },
    });
    Object.defineProperties(signal, {
      aborted: reader("aborted"),
      reason: reader("reason"),
      throwIfAborted: {
        configurable: true,
        value: () => {
          if (signal.aborted) throw signal.reason;
        },
      },
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** A time limit is a `TimeoutError`, everything else an `AbortError`. The first abort counts. */
  abort(code: AbortCode, message: string): void {
    if (this.#aborted) return;
    // First, because the controller reads the signal, which looks here.
    this.#aborted = true;
    this.#controller.abort(new DOMException(message, code === "timeout" ? "TimeoutError" : "AbortError"));
  }

  #look(): void {
    const code = this.#aborted ? null : this.cells.aborted(this.cell, this.id);
    if (code !== null) this.abort(code, MESSAGES[code]);
  }
}
