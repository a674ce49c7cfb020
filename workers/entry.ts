/**
 * The guest: one Web Worker, running the attempts of one job type. Its main module imports this file, then the job
 * file, and calls `serve`. Every message that comes in is answered, so that silence means a thread that does not
 * yield.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { Allowance } from "./allowance.ts";
import { contain, type ContainmentHooks, outlive } from "./contain.ts";
import { InvalidJobData, Job, PermanentJobError } from "./handler.ts";
import { clampText, errorReport, LINE_LIMIT, RESULT_LIMIT, resultText, retryAfterMs } from "./limits.ts";
import {
  Cells,
  COMPLETED,
  FAILED,
  type FaultCause,
  GUEST_READY,
  type GuestEntry,
  type GuestItem,
  PONG,
  REVOKED,
  STARTED,
  STRAY,
} from "./protocol.ts";
import { type AttemptItem, RunningAttempt } from "./running_attempt.ts";
import { Voice } from "./voice.ts";

/** What a Web Worker's global scope has and a window's types lack. */
interface GuestScope {
  postMessage(text: string): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}
const scope = globalThis as unknown as GuestScope;

/** Words outside of any attempt: so many at once, then one a second. */
const STRAYS_AT_ONCE = 20;

// Taken before job code can change them.
const post = scope.postMessage.bind(scope);
const now = Date.now;
const monotonic = performance.now.bind(performance);

/** The attempt whose code runs: it follows that code through awaits, timers and listeners. */
const current = new AsyncLocalStorage<RunningAttempt>();
const running = new Map<number, RunningAttempt>();
/** What waits for one of those to end, by its id. */
const followers = new Map<number, AttemptItem>();
const voice = new Voice(post);
const strays = new Allowance(STRAYS_AT_ONCE, 1);
let cells = Cells.of(0);

const hooks: ContainmentHooks = {
  exited: (error) => fault("exited", error),
  uncaught: (error) => fault("unhandled", error),
  said(level, text) {
    const attempt = current.getStore();
    if (attempt === undefined) stray(text);
    else attempt.line(level, text);
  },
};
contain(hooks);

let maxResultBytes = RESULT_LIMIT;

/** Serves attempts with this job for as long as the thread lives. Called once, by the thread's main module. */
export function serve(job: unknown, resultBytes: number): void {
  maxResultBytes = resultBytes;
  if (!(job instanceof Job)) throw new TypeError("The default export is no job: use defineJob");
  scope.addEventListener("message", (event) => {
    if (typeof event.data === "string") receive(job, JSON.parse(event.data));
    else cells = new Cells(event.data);
  });
  outlive(hooks);
  post(GUEST_READY);
}

function receive(job: Job, items: readonly GuestItem[]): void {
  for (const item of items) {
    if (item.length === 10) startOrWait(job, item);
    else if (item.length === 3) running.get(item[0])?.abort(item[1], item[2]);
    else voice.say([PONG, item[0]]);
  }
  voice.answer();
}

function startOrWait(job: Job, item: AttemptItem): void {
  const after = item[9];
  if (running.has(after)) followers.set(after, item);
  else start(job, item);
}

function start(job: Job, item: AttemptItem): void {
  const attempt = new RunningAttempt(item, cells, voice);
  if (!cells.begin(attempt.cell, attempt.id)) {
    cells.end(attempt.cell, attempt.id);
    voice.say([REVOKED, attempt.id]);
    return;
  }
  running.set(attempt.id, attempt);
  voice.say([STARTED, attempt.id, now()]);
  void current.run(attempt, execute, job, attempt);
}

async function execute(job: Job, attempt: RunningAttempt): Promise<void> {
  const began = monotonic();
  let last: GuestEntry;
  try {
    const parsed = job.parse(payloadOf(attempt.jobData));
    const data = parsed instanceof Promise ? await parsed : parsed;
    const result = await job.run(attempt.context(data));
    last = [COMPLETED, attempt.id, since(began), resultOf(attempt, result)];
  } catch (thrown) {
    const invalid = thrown instanceof InvalidJobData;
    last = [
      FAILED,
      attempt.id,
      since(began),
      invalid ? "invalid-data" : "error",
      invalid || thrown instanceof PermanentJobError,
      retryAfterMs(thrown, now()),
      errorReport(thrown),
    ];
  }
  attempt.close();
  running.delete(attempt.id);
  cells.end(attempt.cell, attempt.id);
  voice.say(last);
  const follower = followers.get(attempt.id);
  if (follower === undefined) return;
  followers.delete(attempt.id);
  start(job, follower);
}

function payloadOf(jobData: string): unknown {
  try {
    return JSON.parse(jobData);
  } catch (error) {
    throw new InvalidJobData("jobData is no JSON: " + errorReport(error).message);
  }
}

/** JSON text of the result. Running the job again would end the same way, so what JSON cannot say is permanent. */
function resultOf(attempt: RunningAttempt, result: unknown): string | null {
  try {
    return resultText(result, maxResultBytes, (bytes) => attempt.resultCut(bytes, maxResultBytes));
  } catch (error) {
    const message = "The result cannot be written as JSON: " + errorReport(error).message;
    throw new PermanentJobError(message, { cause: error });
  }
}

/** Milliseconds, to the microsecond. */
function since(began: number): number {
  return Math.round((monotonic() - began) * 1000) / 1000;
}

function fault(cause: FaultCause, error: unknown): void {
  const attempt = current.getStore();
  if (attempt !== undefined && running.has(attempt.id)) return attempt.fault(cause, error);
  const { name, message } = errorReport(error);
  stray(`Nothing caught ${name}: ${message}`);
}

function stray(text: string): void {
  if (strays.take(monotonic())) voice.say([STRAY, clampText(text, LINE_LIMIT)]);
}
