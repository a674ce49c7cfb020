/** A pool with real processes, and attempts whose every word is kept. */
import { fileURLToPath } from "node:url";
import { systemClock } from "../../infra/clock.ts";
import type { Log, LogFields } from "../../actors/ports/log.ts";
import type { Outcome } from "../../actors/domain/message.ts";
import type { AttemptListener, AttemptRequest, Pool, RunningJob } from "../../actors/ports/pool.ts";
import { createPool, type PoolOptions } from "../../workers/pool.ts";

export type Line = Parameters<AttemptListener["line"]>[0];

/** Absolute path of a folder beside this file. */
export function supportFolder(name: string): string {
  return fileURLToPath(import.meta.resolve(`./${name}`));
}

export interface KeptLog extends Log {
  readonly lines: { readonly message: string; readonly fields: LogFields }[];
}

/** A log that a test can read. */
export function keptLog(lines: KeptLog["lines"] = []): KeptLog {
  const keep = (message: string, fields: LogFields = {}) => void lines.push({ message, fields });
  return { lines, debug: keep, info: keep, warn: keep, error: keep, with: () => keptLog(lines) };
}

/** Runs `work` with a pool over tests/support/jobs, with a short grace, and stops the pool whatever happens. */
export async function withPool(
  options: Partial<PoolOptions>,
  work: (pool: Pool, log: KeptLog) => Promise<void>,
): Promise<void> {
  const log = keptLog();
  const pool = await createPool({
    jobFolders: [supportFolder("jobs")],
    maxParallelJobs: 4,
    killGraceMs: 200,
    log,
    clock: systemClock,
    ...options,
  });
  try {
    await work(pool, log);
  } finally {
    await pool.stop(0);
  }
}

/** One attempt and everything its listener heard. */
export interface KeptAttempt {
  readonly job: RunningJob;
  readonly lines: Line[];
  readonly progress: { readonly done: number; readonly total: number }[];
  /** Why its abort signal was given, each time it was. */
  readonly signals: string[];
  /** When user code began, epoch milliseconds. Never settles when it never did. */
  readonly started: Promise<number>;
  readonly ended: Promise<Outcome>;
  /** Milliseconds, once it has ended. */
  durationMs: number;
}

let made = 0;

export function attempt(
  pool: Pool,
  jobType: string,
  jobData: unknown,
  request: Partial<AttemptRequest> = {},
  after: KeptAttempt | null = null,
): KeptAttempt {
  const started = Promise.withResolvers<number>();
  const ended = Promise.withResolvers<Outcome>();
  const heard: string[] = [];
  const kept = {
    lines: [] as Line[],
    progress: [] as { done: number; total: number }[],
    signals: [] as string[],
    started: started.promise,
    ended: ended.promise,
    durationMs: 0,
  };
  const job = pool.run({
    occurrenceId: `occurrence-${++made}`,
    jobId: `job-${made}`,
    jobType,
    scheduledFor: 1_767_225_600_000,
    token: 1,
    attempt: 1,
    maxAttempts: 4,
    jobData: typeof jobData === "string" ? jobData : JSON.stringify(jobData),
    timeoutMs: null,
    ...request,
  }, {
    started(at) {
      heard.push("started");
      started.resolve(at);
    },
    line: (line) => kept.lines.push(line),
    progress: (done, total) => kept.progress.push({ done, total }),
    signalled: (cause) => kept.signals.push(cause),
    ended(outcome, durationMs) {
      heard.push("ended");
      kept.durationMs = durationMs;
      if (heard.filter((word) => word === "ended").length > 1 || heard.lastIndexOf("started") > 0) {
        ended.reject(new Error(`The listener heard ${heard.join(", ")}`));
      }
      ended.resolve(outcome);
    },
  }, after?.job ?? null);
  return Object.assign(kept, { job });
}

/** The misbehaving job, told how to. */
export function misbehave(
  pool: Pool,
  how: string,
  more: { readonly ms?: number; readonly path?: string } = {},
  request: Partial<AttemptRequest> = {},
  after: KeptAttempt | null = null,
): KeptAttempt {
  return attempt(pool, "MisbehaveJob", { how, ...more }, request, after);
}
