/**
 * The pool: attempts in, outcomes out. Job code runs in Web Workers, those in child processes, the executor hosts.
 *
 *   run ─► crew (threads of the type) ─► thread ─► executor ─stdin─► host ─► guest
 *
 * An attempt is *placed* on a thread, *sent* when the thread has loaded its job file, *started* when its code runs,
 * and *ended* exactly once: by the guest's word, by the ladder, or by what became of its thread or host. An attempt
 * that has not started when its thread goes is placed again and nobody hears of it.
 */
import { resolve } from "node:path";
import { LINE_LEVELS, type Outcome } from "../actors/domain/message.ts";
import type { ErrorReport } from "../actors/domain/occurrence.ts";
import type { JobTypeOffer } from "../actors/domain/job_type.ts";
import type { Clock } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";
import type { AttemptListener, AttemptRequest, Pool, PoolFigures, RunningJob } from "../actors/ports/pool.ts";
import { Attempt } from "./attempt.ts";
import type { ChildEnd } from "./child.ts";
import { Crew } from "./crew.ts";
import { discoverJobs } from "./discovery.ts";
import type { Executor } from "./executor.ts";
import { Fleet } from "./fleet.ts";
import { type ConsumerOptions, type JobType, jobTypesOf } from "./job_types.ts";
import { allEnded, Ladder } from "./ladder.ts";
import { type Launch, launchDeno } from "./launch.ts";
import {
  type AbortCode,
  COMPLETED,
  FAILED,
  FAULT,
  type GuestEntry,
  type HostNews,
  LINE,
  PONG,
  PROGRESS,
  REVOKED,
  STARTED,
  STRAY,
} from "./protocol.ts";
import { Suspects } from "./suspects.ts";
import type { Thread } from "./thread.ts";

export interface PoolOptions {
  /** Folders of job files. Two types of one name, or one type key, are refused. */
  readonly jobFolders: readonly string[];
  /** Folders, among those, whose files get the permissions they ask for, unless the configuration says otherwise. */
  readonly trustedFolders?: readonly string[];
  /** Offer only these types. Left out: all. */
  readonly types?: readonly string[];
  /** Most lanes of a type. Default: cores × 2. The bound on all types together is the caller's. */
  readonly maxParallelJobs?: number;
  /** Seconds; null is no limit. Default 3600. */
  readonly executionTimeoutSeconds?: number | null;
  readonly consumers?: Readonly<Record<string, ConsumerOptions>>;
  /** Milliseconds between the abort signal and the end by force; siblings that would be cut off get as much. */
  readonly killGraceMs?: number;
  /** MiB of heap of each Web Worker. One that needs more takes its host down. Default 512. */
  readonly heapLimitMb?: number;
  /** MiB of resident memory at which a host ends itself. Default: four times the heap limit. */
  readonly hostMemoryLimitMb?: number;
  /** Milliseconds after which an idle Web Worker ends; the last one of its type after ten times as long. */
  readonly idleMs?: number;
  /** Milliseconds in which all job files together must have been imported. */
  readonly discoveryDeadlineMs?: number;
  readonly launch?: Launch;
  readonly log: Log;
  readonly clock: Clock;
}

/** Finds the job types and makes the pool. No host runs until there is work. Throws `DiscoveryError`. */
export async function createPool(options: PoolOptions): Promise<Pool> {
  const { log, clock, launch = launchDeno } = options;
  const found = await discoverJobs({
    jobFolders: options.jobFolders,
    launch,
    clock,
    deadlineMs: options.discoveryDeadlineMs ?? 20_000,
  });
  const jobTypes = jobTypesOf(found, {
    ...(options.types === undefined ? {} : { types: options.types }),
    trustedFolders: (options.trustedFolders ?? []).map((folder) => resolve(folder)),
    maxParallelJobs: options.maxParallelJobs ?? navigator.hardwareConcurrency * 2,
    executionTimeoutSeconds: options.executionTimeoutSeconds === undefined
      ? 3600
      : options.executionTimeoutSeconds,
    consumers: options.consumers ?? {},
    log,
  });
  return new WorkerPool(jobTypes, options, launch);
}

/** Hosts for suspects at once. Each runs one attempt. */
const ALONE_AT_ONCE = 2;
/** So often an attempt waits for its job file to load before the file itself is taken to be at fault. */
const FAILED_LOADS_AT_MOST = 3;
const IDS = 2 ** 30;

class WorkerPool implements Pool {
  readonly jobTypes: readonly JobTypeOffer[];
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #types: ReadonlyMap<string, JobType>;
  readonly #crews: ReadonlyMap<string, Crew>;
  readonly #attempts = new Map<number, Attempt>();
  readonly #suspects = new Suspects();
  readonly #alone: Attempt[] = [];
  readonly #fleet: Fleet;
  readonly #ladder: Ladder;
  #lastId = 0;
  #stopping: Promise<void> | null = null;

  constructor(jobTypes: ReadonlyMap<string, JobType>, options: PoolOptions, launch: Launch) {
    const heapLimitMb = options.heapLimitMb ?? 512;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#graceMs = options.killGraceMs ?? 5000;
    this.#types = jobTypes;
    this.jobTypes = [...jobTypes.values()].map(({ offer }) => offer);
    this.#fleet = new Fleet({
      launch,
      clock: options.clock,
      codeFolders: [...new Set([...jobTypes.values()].map(({ folder }) => folder))],
      heapLimitMb,
      memoryLimitMb: options.hostMemoryLimitMb ?? heapLimitMb * 4,
      idleMs: options.idleMs ?? 60_000,
      events: {
        entries: (thread, entries) => this.#onEntries(thread, entries),
        news: (executor, news) => this.#onNews(executor, news),
        noise: (executor, text) =>
          this.#log.warn("Something wrote to an executor host's output", {
            pid: executor.pid,
            text: text.slice(0, 200),
          }),
        gone: (executor, end) => this.#onHostGone(executor, end),
      },
      lateThread: (thread) => {
        this.#failUnsent(thread, "The job file did not load within a minute");
        void this.#ladder.endHost(thread.executor);
      },
      idleThread: (thread) => void this.#ladder.endThread(thread),
    });
    this.#crews = new Map(
      [...jobTypes].map((
        [name, type],
      ) => [name, new Crew(type, (capacity) => this.#fleet.startThread(type, capacity))]),
    );
    this.#ladder = new Ladder({
      clock: options.clock,
      graceMs: this.#graceMs,
      withdraw: (thread) => this.#withdraw(thread),
      abortSibling: (attempt) =>
        this.#signal(attempt, "sibling", "Its thread ends because of another attempt"),
    });
  }

  run(request: AttemptRequest, listener: AttemptListener): RunningJob {
    const type = this.#types.get(request.jobType);
    if (type === undefined) throw new TypeError(`This worker does not offer the job type ${request.jobType}`);
    const attempt = new Attempt(
      this.#nextId(),
      type,
      request,
      listener,
      (one, code, message) => this.#abort(one, code, message),
    );
    this.#attempts.set(attempt.id, attempt);
    if (this.#stopping === null) this.#place(attempt);
    else queueMicrotask(() => this.#end(attempt, { kind: "handedBack", why: "stopping" }));
    return attempt;
  }

  figures(): PoolFigures {
    let threads = 0;
    for (const executor of this.#fleet.executors) threads += executor.threads.size;
    return { hosts: this.#fleet.executors.size, threads, busy: this.#attempts.size };
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    // Not before `run` can see that the pool is stopping.
    await Promise.resolve();
    const all = [...this.#attempts.values()];
    for (const attempt of all) this.#signal(attempt, "stopping", "The worker is stopping");
    await allEnded(all, graceMs, this.#clock);
    await this.#fleet.stop();
  }

  // Placing

  #place(attempt: Attempt): void {
    const crew = this.#crewOfType(attempt.type);
    try {
      if (attempt.failedLoads >= FAILED_LOADS_AT_MOST) {
        throw new Error(`its host ended ${attempt.failedLoads} times while it loaded the job file`);
      }
      if (this.#suspects.mustRunAlone(attempt.request)) {
        this.#alone.push(attempt);
        this.#startAlone();
      } else crew.place(attempt);
    } catch (error) {
      this.#cannotStart(attempt, error);
    }
  }

  #cannotStart(attempt: Attempt, error: unknown): void {
    // Later, so that `run` has returned before its listener hears of the end.
    queueMicrotask(() => this.#end(attempt, crashed("Cannot start job code: " + (error as Error).message)));
  }

  #placeWaiting(crew: Crew): void {
    if (this.#stopping !== null || !crew.anyWaiting) return;
    for (const attempt of crew.takeWaiting()) this.#place(attempt);
  }

  #startAlone(): void {
    let hosts = [...this.#fleet.executors].filter((one) => one.alone).length;
    for (; hosts < ALONE_AT_ONCE; hosts++) {
      const attempt = this.#alone.shift();
      if (attempt === undefined) return;
      try {
        this.#fleet.startAlone(attempt.type).take(attempt);
      } catch (error) {
        this.#cannotStart(attempt, error);
      }
    }
  }

  #nextId(): number {
    do this.#lastId = this.#lastId % IDS + 1; while (this.#attempts.has(this.#lastId));
    return this.#lastId;
  }

  #withdraw(thread: Thread): void {
    this.#crewOfType(thread.type).remove(thread);
    for (const attempt of thread.attempts) {
      if (attempt.abort !== null || attempt.startedAt !== null) continue;
      if (attempt.sent) thread.recall(attempt);
      else this.#placeAgain(attempt);
    }
  }

  /** A thread does not yield: what was sent there and has not started runs elsewhere, if there is room. */
  #relieve(thread: Thread): void {
    thread.stuck = true;
    let room = this.#crewOfType(thread.type).roomElsewhere();
    for (const attempt of thread.attempts) {
      if (room <= 0) return;
      if (!attempt.sent || attempt.abort !== null || attempt.startedAt !== null) continue;
      room -= 1;
      thread.recall(attempt);
    }
  }

  #placeAgain(attempt: Attempt): void {
    if (attempt.thread?.ready === false) attempt.failedLoads += 1;
    attempt.thread?.release(attempt, this.#clock.mono());
    attempt.sent = false;
    // Its old id may still be on its way to a guest.
    this.#attempts.delete(attempt.id);
    attempt.id = this.#nextId();
    this.#attempts.set(attempt.id, attempt);
    this.#place(attempt);
  }

  // Ending

  #abort(attempt: Attempt, code: AbortCode, message: string): void {
    if (attempt.ended || attempt.abort !== null) return;
    this.#signal(attempt, code, message);
    if (attempt.ended) return;
    attempt.cancelTimer();
    attempt.cancelTimer = this.#clock.timer(this.#graceMs, () => {
      if (attempt.thread !== null) void this.#ladder.endThread(attempt.thread);
    });
  }

  /** The abort signal. An attempt that was never sent has ended with it. */
  #signal(attempt: Attempt, code: AbortCode, message: string): void {
    if (attempt.ended || attempt.abort !== null) return;
    attempt.abort = { code, message };
    if (attempt.sent) attempt.thread?.abort(attempt, code, message);
    else this.#end(attempt, attempt.outcome(null, "signal"));
  }

  #end(attempt: Attempt, outcome: Outcome, durationMs = this.#runTime(attempt)): void {
    if (!this.#attempts.delete(attempt.id)) return;
    const { thread } = attempt;
    const crew = this.#crewOfType(attempt.type);
    if (thread === null) {
      crew.forget(attempt);
      const at = this.#alone.indexOf(attempt);
      if (at >= 0) this.#alone.splice(at, 1);
    } else {
      thread.release(attempt, this.#clock.mono());
      if (thread.executor.alone) {
        if (!thread.gone) this.#suspects.acquit(attempt.request);
        thread.executor.kill();
      }
    }
    attempt.end(outcome, durationMs);
    this.#placeWaiting(crew);
  }

  #runTime(attempt: Attempt): number {
    return attempt.startedAt === null ? 0 : this.#clock.mono() - attempt.startedAt;
  }

  // What guests say

  #onEntries(thread: Thread, entries: readonly GuestEntry[]): void {
    thread.stuck = false;
    const began: Attempt[] = [];
    for (const entry of entries) {
      if (entry[0] === PONG) thread.pong(entry[1]);
      else if (entry[0] === STRAY) {
        this.#log.warn("Job code outside of any attempt: " + entry[1], { jobType: thread.type.offer.name });
      } else {
        const attempt = this.#attempts.get(entry[1]);
        // It may have been placed elsewhere since.
        if (attempt === undefined || attempt.thread !== thread) {
          if (entry[0] === REVOKED && thread.clear(entry[1])) {
            this.#placeWaiting(this.#crewOfType(thread.type));
          }
          continue;
        }
        if (entry[0] === STARTED) began.push(attempt);
        this.#onEntry(attempt, entry);
      }
    }
    // Not before all is read: most runs are over by now, and a timer costs more than they do.
    for (const attempt of began) this.#limit(attempt);
  }

  #onEntry(
    attempt: Attempt,
    entry: Exclude<GuestEntry, readonly [typeof PONG | typeof STRAY, ...unknown[]]>,
  ): void {
    switch (entry[0]) {
      case STARTED:
        return this.#started(attempt, entry[2]);
      case LINE: {
        const [, , sequence, at, level, message, fields] = entry;
        return attempt.listener.line({ sequence, at, level: LINE_LEVELS[level] ?? "info", message, fields });
      }
      case PROGRESS:
        return attempt.listener.progress(entry[2], entry[3]);
      case COMPLETED: {
        const [, , durationMs, result] = entry;
        this.#crewOfType(attempt.type).ran(durationMs);
        return this.#end(attempt, attempt.outcome({ kind: "completed", result }, "signal"), durationMs);
      }
      case FAILED: {
        const [, , durationMs, cause, permanent, retryAfterMs, error] = entry;
        const said: Outcome = { kind: "failed", error, permanent, retryAfterMs, cause };
        return this.#end(attempt, attempt.outcome(said, "signal"), durationMs);
      }
      case FAULT: {
        const [, , cause, error] = entry;
        if (attempt.abort !== null) return;
        attempt.fault = { kind: "failed", error, permanent: false, retryAfterMs: null, cause };
        return this.#abort(attempt, "fault", error.message);
      }
      case REVOKED:
        return this.#revoked(attempt);
      default:
        return entry satisfies never;
    }
  }

  #started(attempt: Attempt, at: number): void {
    if (attempt.startedAt !== null) return;
    attempt.startedAt = this.#clock.mono();
    attempt.listener.started(at);
  }

  /** Its time limit counts from here on. */
  #limit(attempt: Attempt): void {
    const { timeoutMs } = attempt.request;
    if (timeoutMs === null || attempt.abort !== null || attempt.ended || attempt.limited) return;
    attempt.limited = true;
    attempt.cancelTimer = this.#clock.timer(
      timeoutMs,
      () => this.#abort(attempt, "timeout", `The time limit of ${timeoutMs} ms is reached`),
    );
  }

  /** It was aborted, or taken back, before it started, and never will on this thread. */
  #revoked(attempt: Attempt): void {
    if (attempt.abort === null) this.#placeAgain(attempt);
    else this.#end(attempt, attempt.outcome(null, "signal"));
  }

  // What hosts say, and what becomes of them

  #onNews(executor: Executor, news: HostNews): void {
    if (news[0] === "memory") {
      executor.overMemory = true;
      return;
    }
    const thread = executor.threads.get(news[1]);
    if (thread === undefined) return;
    switch (news[0]) {
      case "ready":
        this.#fleet.ready(thread);
        return executor.planFlush(thread);
      case "started":
        for (const id of news[2]) {
          const attempt = this.#attempts.get(id);
          if (attempt?.thread !== thread) continue;
          this.#started(attempt, news[3]);
          this.#limit(attempt);
        }
        return this.#relieve(thread);
      case "revoked": {
        const attempt = this.#attempts.get(news[2]);
        if (attempt?.thread !== thread || attempt.startedAt !== null) return;
        thread.leaveBehind(attempt, this.#clock.mono());
        if (executor.alone) executor.kill();
        return this.#revoked(attempt);
      }
      case "terminated":
        this.#leave(thread);
        for (const attempt of [...thread.attempts]) this.#end(attempt, attempt.outcome(null, "terminated"));
        return;
      case "dead":
        this.#leave(thread);
        this.#log.warn("A thread of job code died: " + news[2], { jobType: thread.type.offer.name });
        if (!thread.ready) this.#failUnsent(thread, "Cannot load the job file: " + news[2]);
        this.#blame([...thread.attempts], "unhandled", news[2]);
        return;
      default:
        return news satisfies never;
    }
  }

  #leave(thread: Thread): void {
    this.#crewOfType(thread.type).remove(thread);
    this.#fleet.forget(thread);
    this.#placeWaiting(this.#crewOfType(thread.type));
  }

  #onHostGone(executor: Executor, end: ChildEnd): void {
    const threads = [...executor.threads.values()];
    for (const thread of threads) this.#crewOfType(thread.type).remove(thread);
    this.#fleet.remove(executor);
    const attempts = threads.flatMap((thread) => [...thread.attempts]);
    if (this.#stopping !== null || executor.killed) {
      for (const attempt of attempts) this.#cutOff(attempt);
    } else {
      const outOfMemory = executor.overMemory || end.code === 133 || /out of memory/i.test(end.stderr);
      const how = `${end.signal ?? `exit code ${end.code}`}${outOfMemory ? ", out of memory" : ""}`;
      const said = end.stderr.trim().slice(-500);
      this.#log.warn("An executor host died", { pid: executor.pid, how, attempts: attempts.length, said });
      this.#blame(attempts, outOfMemory ? "out-of-memory" : "crashed", `The executor host died (${how})`);
    }
    for (const { type } of threads) this.#placeWaiting(this.#crewOfType(type));
    this.#startAlone();
  }

  /** The process or thread that held these attempts is gone, and one of them did it. */
  #blame(
    attempts: readonly Attempt[],
    cause: "out-of-memory" | "crashed" | "unhandled",
    message: string,
  ): void {
    // What was told to end has its outcome by that; what was never sent did nothing.
    const suspects = attempts.filter((attempt) => attempt.sent && attempt.abort === null);
    const [guilty] = suspects;
    if (guilty !== undefined && suspects.length === 1) {
      this.#suspects.convict(guilty.request);
      this.#end(guilty, {
        kind: "failed",
        error: report(message),
        permanent: false,
        retryAfterMs: null,
        cause,
      });
    } else for (const suspect of suspects) this.#suspects.suspect(suspect.request);
    for (const attempt of attempts) this.#cutOff(attempt);
  }

  #cutOff(attempt: Attempt): void {
    if (attempt.ended) return;
    if (!attempt.sent && attempt.abort === null && this.#stopping === null) this.#placeAgain(attempt);
    else this.#end(attempt, attempt.outcome(null, "killed"));
  }

  #failUnsent(thread: Thread, message: string): void {
    for (const attempt of [...thread.attempts]) if (!attempt.sent) this.#end(attempt, crashed(message));
  }

  #crewOfType(type: JobType): Crew {
    const crew = this.#crews.get(type.offer.name);
    if (crew === undefined) throw new TypeError(`This worker does not offer the job type ${type.offer.name}`);
    return crew;
  }
}

function crashed(message: string): Outcome {
  return { kind: "failed", error: report(message), permanent: false, retryAfterMs: null, cause: "crashed" };
}

function report(message: string): ErrorReport {
  return { name: "JobCrashed", message, stack: null, causes: [] };
}
