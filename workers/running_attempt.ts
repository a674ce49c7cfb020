/** One attempt in its guest: what its code is given, and what becomes of the words of that code. */
import { LINE_LEVELS, type LineLevel } from "../actors/domain/message.ts";
import { Allowance } from "./allowance.ts";
import { AttemptSignal } from "./attempt_signal.ts";
import type { JobContext, LineFields } from "./handler.ts";
import { clampText, errorReport, fieldsText, LINE_BURST, LINE_LIMIT, LINES_PER_SECOND } from "./limits.ts";
import { type AbortCode, type Cells, FAULT, type FaultCause, type GuestItem, LINE } from "./protocol.ts";
import type { Voice } from "./voice.ts";

export type AttemptItem = Extract<GuestItem, { readonly length: 10 }>;

/** A flood is marked once a second, or the marks would be a flood of their own. */
const MARK_EVERY_MS = 1000;

// Taken before job code can change it.
const now = Date.now;

export class RunningAttempt {
  readonly id: number;
  readonly cell: number;
  readonly #lines = new Allowance(LINE_BURST, LINES_PER_SECOND);
  #abort: readonly [code: AbortCode, message: string] | null = null;
  /** Made when job code first asks for it: most never do. */
  #signal: AttemptSignal | null = null;
  #open = true;
  #faulty = false;
  #sequence = 0;
  #dropped = 0;
  #droppedSince = 0;

  constructor(
    private readonly item: AttemptItem,
    private readonly cells: Cells,
    private readonly voice: Voice,
  ) {
    [this.id, this.cell] = item;
  }

  /** JSON text. */
  get jobData(): string {
    return this.item[8];
  }

  /** What job code sees. */
  context(data: unknown): JobContext<unknown> {
    const [, , occurrenceId, jobId, scheduledFor, fencingToken, attempt, maxAttempts] = this.item;
    const signal = () => this.#signalOf();
    return {
      data,
      occurrenceId,
      jobId,
      scheduledFor: new Date(scheduledFor),
      attempt,
      maxAttempts,
      fencingToken,
      get signal() {
        return signal();
      },
      log: {
        info: (message, fields) => this.line("info", message, fields),
        warn: (message, fields) => this.line("warn", message, fields),
        error: (message, fields) => this.line("error", message, fields),
      },
      progress: (done, total) => {
        if (this.#open) this.voice.progress(this.id, Number(done) || 0, Number(total) || 0);
      },
    };
  }

  /** Anything may come as message: job code need not be TypeScript. */
  line(level: LineLevel, message: unknown, fields?: LineFields): void {
    if (!this.#open) return;
    const at = now();
    if (!this.#lines.take(at)) {
      if (this.#dropped === 0) this.#droppedSince = at;
      this.#dropped += 1;
      return;
    }
    if (at - this.#droppedSince >= MARK_EVERY_MS) this.#sayDropped(at);
    const text = typeof message === "string" ? message : fieldsText(message) ?? String(message);
    this.#say(at, level, clampText(text, LINE_LIMIT), fieldsText(fields));
  }

  abort(code: AbortCode, message: string): void {
    this.#abort ??= [code, message];
    this.#signal?.abort(code, message);
  }

  /** Nothing caught this error, or exit was called. Only the first one is told. */
  fault(cause: FaultCause, error: unknown): void {
    if (this.#faulty) return;
    this.#faulty = true;
    this.voice.say([FAULT, this.id, cause, errorReport(error)]);
  }

  /** Its result is kept in part: said whatever was said before. */
  resultCut(bytes: number, limit: number): void {
    const message =
      `The result has ${bytes} bytes, more than the ${limit} that are kept (Worker.MaxResultKiB): ` +
      "only its size and its beginning are";
    this.#say(now(), "warn", message, null);
  }

  /** Says what was held back. Whatever code it left behind is not heard any more. */
  close(): void {
    this.voice.lastProgress(this.id);
    this.#sayDropped(now());
    this.#open = false;
  }

  #signalOf(): AbortSignal {
    if (this.#signal === null) {
      this.#signal = new AttemptSignal(this.cells, this.cell, this.id);
      if (this.#abort !== null) this.#signal.abort(...this.#abort);
    }
    return this.#signal.signal;
  }

  #sayDropped(at: number): void {
    if (this.#dropped === 0) return;
    const message = `${this.#dropped} lines dropped: more than ${LINES_PER_SECOND} a second`;
    this.#dropped = 0;
    this.#say(at, "warn", message, null);
  }

  #say(at: number, level: LineLevel, message: string, fields: string | null): void {
    this.voice.say([LINE, this.id, this.#sequence++, at, LINE_LEVELS.indexOf(level), message, fields]);
  }
}
