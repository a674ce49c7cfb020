/**
 * The guest: one Web Worker, running the attempts of one job type. Its main module imports this file, then the job
 * file, and calls `serve`.
 *
 * Everything said goes out in one message a turn of the event loop; a loop that never yields still gets its lines
 * out, at most 50 ms late. Every message that comes in is answered, so that silence means a thread that does not
 * yield.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate } from "node:timers";
import { LINE_LEVELS, type LineLevel } from "../actors/domain/message.ts";
import { contain } from "./contain.ts";
import {
  InvalidJobData,
  Job,
  type JobContext,
  type JobLog,
  type LineFields,
  PermanentJobError,
  RetryLater,
} from "./handler.ts";
import {
  clampText,
  errorReport,
  fieldsText,
  LINE_BURST,
  LINE_LIMIT,
  LINES_PER_SECOND,
  resultText,
} from "./limits.ts";
import {
  type AbortCode,
  Cells,
  COMPLETED,
  FAILED,
  FAULT,
  type FaultCause,
  GUEST_READY,
  type GuestEntry,
  type GuestItem,
  LINE,
  PONG,
  PROGRESS,
  REVOKED,
  STARTED,
  STRAY,
} from "./protocol.ts";

type AttemptItem = Extract<GuestItem, { readonly length: 9 }>;

const FLUSH_AT_MOST_MS = 50;
const PROGRESS_EVERY_MS = 100;

const ABORT_MESSAGES: Readonly<Record<AbortCode, string>> = {
  timeout: "The time limit is reached",
  cancelled: "The occurrence was cancelled",
  "lease-lost": "The worker lost its lease",
  stopping: "The worker is stopping",
  sibling: "The thread is about to be ended because of another attempt",
  fault: "The attempt has failed by an error that nothing caught",
};

/** What a Web Worker's global scope has and a window's types lack. */
interface GuestScope {
  postMessage(text: string): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}
const scope = globalThis as unknown as GuestScope;

// Taken before job code can change them.
const post = scope.postMessage.bind(scope);
const startTimer = setTimeout;
const now = Date.now;
const monotonic = performance.now.bind(performance);

const current = new AsyncLocalStorage<RunningAttempt>();
const running = new Map<number, RunningAttempt>();
const progressing = new Set<RunningAttempt>();
let out: GuestEntry[] = [];
let flushPlanned = false;
let flushedAt = 0;
let cells = Cells.of(0);

contain({
  exited: (error) => fault("exited", error),
  uncaught: (error) => fault("unhandled", error),
  said(level, text) {
    const attempt = current.getStore();
    if (attempt === undefined) say([STRAY, clampText(text, LINE_LIMIT)]);
    else attempt.line(level, text);
  },
});

/** Serves attempts with this job for as long as the thread lives. Called once, by the thread's main module. */
export function serve(job: unknown): void {
  if (!(job instanceof Job)) throw new TypeError("The default export is no job: use defineJob");
  scope.addEventListener("message", (event) => {
    if (typeof event.data === "string") receive(job, JSON.parse(event.data));
    else cells = new Cells(event.data);
  });
  post(GUEST_READY);
}

function receive(job: Job, items: readonly GuestItem[]): void {
  for (const item of items) {
    if (item.length === 9) start(job, item);
    else if (item.length === 3) running.get(item[0])?.abort(item[1], item[2]);
    else out.push([PONG, item[0]]);
  }
  planFlush();
}

function start(job: Job, item: AttemptItem): void {
  const attempt = new RunningAttempt(item);
  if (!cells.begin(attempt.cell, attempt.id)) {
    cells.end(attempt.cell, attempt.id);
    out.push([REVOKED, attempt.id]);
    return;
  }
  running.set(attempt.id, attempt);
  out.push([STARTED, attempt.id, now()]);
  void current.run(attempt, execute, job, attempt);
}

async function execute(job: Job, attempt: RunningAttempt): Promise<void> {
  const began = monotonic();
  let entry: GuestEntry;
  try {
    const parsed = job.parse(payloadOf(attempt.jobData));
    attempt.data = parsed instanceof Promise ? await parsed : parsed;
    entry = [COMPLETED, attempt.id, elapsed(began), resultOf(await job.run(attempt))];
  } catch (thrown) {
    const invalid = thrown instanceof InvalidJobData;
    entry = [
      FAILED,
      attempt.id,
      elapsed(began),
      invalid ? "invalid-data" : "error",
      invalid || thrown instanceof PermanentJobError,
      thrown instanceof RetryLater ? Math.max(0, Math.round(thrown.afterSeconds * 1000)) : null,
      errorReport(thrown),
    ];
  }
  attempt.close();
  running.delete(attempt.id);
  cells.end(attempt.cell, attempt.id);
  say(entry);
}

function payloadOf(jobData: string): unknown {
  try {
    return JSON.parse(jobData);
  } catch (error) {
    throw new InvalidJobData("jobData is no JSON: " + errorReport(error).message);
  }
}

/** JSON text of the result. Running the job again would end the same way, so what JSON cannot say is permanent. */
function resultOf(result: unknown): string | null {
  try {
    return resultText(result);
  } catch (error) {
    throw new PermanentJobError("The result cannot be written as JSON: " + errorReport(error).message, {
      cause: error,
    });
  }
}

function elapsed(began: number): number {
  return Math.round((monotonic() - began) * 1000) / 1000;
}

function fault(cause: FaultCause, error: unknown): void {
  const attempt = current.getStore();
  const report = errorReport(error);
  if (attempt === undefined || !running.has(attempt.id)) {
    say([STRAY, clampText(`Nothing caught ${report.name}: ${report.message}`, LINE_LIMIT)]);
  } else say([FAULT, attempt.id, cause, report]);
}

function say(entry: GuestEntry): void {
  out.push(entry);
  planFlush();
}

function planFlush(): void {
  if (!flushPlanned) {
    flushPlanned = true;
    flushedAt = monotonic();
    setImmediate(flush);
  } else if (monotonic() - flushedAt > FLUSH_AT_MOST_MS) send();
}

function flush(): void {
  flushPlanned = false;
  send();
}

function send(): void {
  flushedAt = monotonic();
  const batch = out;
  out = [];
  post(JSON.stringify(batch));
}

/** Only the newest progress of each attempt goes out, ten times a second. */
function planProgress(attempt: RunningAttempt): void {
  if (progressing.size === 0) {
    startTimer(() => {
      for (const one of [...progressing]) one.sayProgress();
    }, PROGRESS_EVERY_MS);
  }
  progressing.add(attempt);
}

/** One attempt, and the context that its job code sees. */
class RunningAttempt implements JobContext<unknown> {
  readonly id: number;
  readonly cell: number;
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly fencingToken: number;
  readonly jobData: string;
  readonly log: JobLog;
  data: unknown = undefined;
  readonly #scheduledFor: number;
  #controller: AbortController | null = null;
  #abort: { readonly code: AbortCode; readonly message: string } | null = null;
  #open = true;
  #sequence = 0;
  #allowance = LINE_BURST;
  #allowanceAt = 0;
  #dropped = 0;
  #progress: readonly [done: number, total: number] | null = null;
  #progressAt = 0;

  constructor(item: AttemptItem) {
    [
      this.id,
      this.cell,
      this.occurrenceId,
      this.jobId,
      this.#scheduledFor,
      this.fencingToken,
      this.attempt,
      this.maxAttempts,
      this.jobData,
    ] = item;
    this.log = {
      info: (message, fields) => this.line("info", message, fields),
      warn: (message, fields) => this.line("warn", message, fields),
      error: (message, fields) => this.line("error", message, fields),
    };
  }

  get scheduledFor(): Date {
    return new Date(this.#scheduledFor);
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      this.#letPollingSee(this.#controller.signal);
      if (this.#abort !== null) this.#controller.abort(reasonOf(this.#abort.code, this.#abort.message));
    }
    return this.#controller.signal;
  }

  progress(done: number, total: number): void {
    if (!this.#open) return;
    const at = monotonic();
    if (this.#progressAt === 0) this.#progressAt = at;
    this.#progress = [Number(done) || 0, Number(total) || 0];
    planProgress(this);
    // Code that never yields lets no timer run.
    if (at - this.#progressAt > 2 * PROGRESS_EVERY_MS) this.sayProgress();
  }

  sayProgress(): void {
    progressing.delete(this);
    if (this.#progress === null) return;
    this.#progressAt = monotonic();
    say([PROGRESS, this.id, ...this.#progress]);
    this.#progress = null;
  }

  line(level: LineLevel, message: unknown, fields?: LineFields): void {
    if (!this.#open) return;
    const at = now();
    if (!this.#mayWrite(at)) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) this.#sayDropped(at);
    const text = clampText(typeof message === "string" ? message : String(message), LINE_LIMIT);
    say([LINE, this.id, this.#sequence++, at, LINE_LEVELS.indexOf(level), text, fieldsText(fields)]);
  }

  abort(code: AbortCode, message: string): void {
    this.#abort ??= { code, message };
    this.#controller?.abort(reasonOf(code, message));
  }

  /** The last words: what was held back. Later ones are not heard. */
  close(): void {
    this.sayProgress();
    if (this.#dropped > 0) this.#sayDropped(now());
    this.#open = false;
  }

  #sayDropped(at: number): void {
    const message = `${this.#dropped} lines dropped: more than ${LINES_PER_SECOND} a second`;
    this.#dropped = 0;
    say([LINE, this.id, this.#sequence++, at, LINE_LEVELS.indexOf("warn"), message, null]);
  }

  #mayWrite(at: number): boolean {
    if (this.#allowanceAt > 0) {
      const refill = (Math.max(0, at - this.#allowanceAt) * LINES_PER_SECOND) / 1000;
      this.#allowance = Math.min(LINE_BURST, this.#allowance + refill);
    }
    this.#allowanceAt = at;
    if (this.#allowance < 1) return false;
    this.#allowance -= 1;
    return true;
  }

  /** A loop that never awaits gets no message: its reads of the signal look into the shared memory. */
  #letPollingSee(signal: AbortSignal): void {
    const look = () => {
      const code = cells.aborted(this.cell, this.id);
      if (code !== null && this.#abort === null) this.abort(code, ABORT_MESSAGES[code]);
    };
    const reader = (name: "aborted" | "reason") => ({
      configurable: true,
      get(): unknown {
        look();
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
}

function reasonOf(code: AbortCode, message: string): DOMException {
  return new DOMException(message, code === "timeout" ? "TimeoutError" : "AbortError");
}
