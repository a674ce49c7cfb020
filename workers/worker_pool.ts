/**
 * The pool: attempts in, outcomes out. Job code runs in Web Workers, those in child processes, the executor hosts.
 *
 *   run ─► crew (threads of the type) ─► thread ─► executor ─stdin─► host ─► guest
 *
 * An attempt is *placed* on a thread, *sent* when the thread has loaded its job file, *started* when its code runs,
 * and *ended* exactly once: by the guest's word, by the ladder, or by what became of its thread or host. An attempt
 * that has not started when its thread goes is placed again and nobody hears of it. One that is *behind* another begins
 * when that one ends: in the same thread at once, else it is placed then.
 */
import { LINE_LEVELS, type Outcome } from "../actors/domain/message.ts";
import type { ErrorReport } from "../actors/domain/occurrence.ts";
import type { JobTypeOffer } from "../actors/domain/job_type.ts";
import type { Clock } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";
import type { AttemptListener, AttemptRequest, Pool, PoolFigures, RunningJob } from "../actors/ports/pool.ts";
import { Attempt } from "./attempt.ts";
import type { ChildEnd } from "./child.ts";
import type { Executor } from "./executor.ts";
import { Fleet } from "./fleet.ts";
import type { JobType } from "./job_types.ts";
import { allEnded, Ladder } from "./ladder.ts";
import type { Launch } from "./launch.ts";
import { Placement } from "./placement.ts";
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
import type { Thread } from "./thread.ts";

/** All of `PoolOptions` that is needed once the job types are known. */
export interface WorkerPoolOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly launch: Launch;
  readonly heapLimitMb: number;
  readonly hostMemoryLimitMb: number;
  /** See `PoolOptions.maxResultBytes`. */
  readonly maxResultBytes: number;
  readonly killGraceMs: number;
  readonly idleMs: number;
  /** See `PoolOptions.parentSilenceMs`. */
  readonly parentSilenceMs: number;
  /** See `PoolOptions.fromMachine`. */
  readonly fromMachine: (at: number) => number;
}

type FatalCause = "out-of-memory" | "crashed" | "unhandled";

/** Ids travel as 32-bit integers and begin anew before they no longer fit. */
const IDS = 2 ** 30;

/** A lease that is lost ends soon, and another worker may then run the attempt: little time is left for manners. */
const LEASE_LOST_GRACE_MS = 1000;

export class WorkerPool implements Pool {
  readonly jobTypes: readonly JobTypeOffer[];
  readonly #types: ReadonlyMap<string, JobType>;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #fromMachine: (at: number) => number;
  readonly #attempts = new Map<number, Attempt>();
  readonly #fleet: Fleet;
  readonly #placement: Placement;
  readonly #ladder: Ladder;
  #lastId = 0;
  #cpuMs = 0;
  #stopping: Promise<void> | null = null;

  constructor(jobTypes: ReadonlyMap<string, JobType>, options: WorkerPoolOptions) {
    const { log, clock } = options;
    const types = [...jobTypes.values()];
    this.jobTypes = types.map(({ offer }) => offer);
    this.#types = jobTypes;
    this.#log = log;
    this.#clock = clock;
    this.#graceMs = options.killGraceMs;
    this.#fromMachine = options.fromMachine;
    this.#fleet = new Fleet({
      ...options,
      events: {
        entries: (thread, entries) => this.#onEntries(thread, entries),
        news: (executor, news) => this.#onNews(executor, news),
        noise: ({ pid }, text) =>
          log.warn("Something wrote to an executor host's output", { pid, text: text.slice(0, 200) }),
        gone: (executor, end) => this.#onHostGone(executor, end),
      },
      lateThread: (thread) => {
        this.#failUnsent(thread, "The job file did not load within a minute");
        void this.#ladder.endHost(thread.executor);
      },
      idleThread: (thread) => void this.#ladder.endThread(thread),
    });
    this.#placement = new Placement(types, {
      fleet: this.#fleet,
      clock,
      renumber: (attempt) => this.#renumber(attempt),
      // Later, so that `run` has returned before its listener hears of the end.
      cannotStart: (attempt, why) =>
        queueMicrotask(() => this.#end(attempt, fatal("crashed", "Cannot start job code: " + why))),
    });
    this.#ladder = new Ladder({
      clock,
      graceMs: options.killGraceMs,
      withdraw: (thread) => this.#placement.withdraw(thread),
      abortSibling: (attempt) =>
        this.#signal(attempt, "sibling", "Its thread ends because of another attempt"),
    });
  }

  run(request: AttemptRequest, listener: AttemptListener, after: RunningJob | null = null): RunningJob {
    const type = this.#types.get(request.jobType);
    if (type === undefined) throw new TypeError(`This worker does not offer the job type ${request.jobType}`);
    const attempt = new Attempt(
      this.#nextId(),
      type,
      request,
      listener,
      {
        cancel: (one, code, message) => this.#abort(one, code, message),
        recall: (one) => this.#recall(one),
      },
    );
    this.#attempts.set(attempt.id, attempt);
    if (this.#stopping !== null) {
      queueMicrotask(() => this.#end(attempt, { kind: "handedBack", why: "stopping" }));
    } else if (after instanceof Attempt && !after.ended) this.#placement.placeBehind(attempt, after);
    else this.#placement.place(attempt);
    return attempt;
  }

  figures(): PoolFigures {
    let threads = 0;
    let rssBytes = 0;
    for (const executor of this.#fleet.executors) {
      threads += executor.threads.size;
      rssBytes += executor.rssBytes;
    }
    return {
      hosts: this.#fleet.executors.size,
      threads,
      busy: this.#attempts.size,
      rssBytes,
      cpuMs: this.#cpuMs,
    };
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    // Not before `run` can see that the pool is stopping.
    await Promise.resolve();
    this.#placement.stop();
    const all = [...this.#attempts.values()];
    for (const attempt of all) this.#signal(attempt, "stopping", "The worker is stopping");
    await allEnded(all, graceMs, this.#clock);
    await this.#fleet.stop();
  }

  #nextId(): number {
    do this.#lastId = this.#lastId % IDS + 1; while (this.#attempts.has(this.#lastId));
    return this.#lastId;
  }

  #renumber(attempt: Attempt): void {
    this.#attempts.delete(attempt.id);
    attempt.id = this.#nextId();
    this.#attempts.set(attempt.id, attempt);
  }

  // Ending

  #abort(attempt: Attempt, code: AbortCode, message: string): void {
    if (attempt.ended || attempt.abort !== null) return;
    this.#signal(attempt, code, message);
    if (attempt.ended) return;
    attempt.cancelTimer();
    const grace = code === "lease-lost" ? Math.min(this.#graceMs, LEASE_LOST_GRACE_MS) : this.#graceMs;
    attempt.cancelTimer = this.#clock.timer(grace, () => {
      if (attempt.thread !== null) void this.#ladder.endThread(attempt.thread);
    });
  }

  /** The abort signal. An attempt that was never sent has ended with it. */
  #signal(attempt: Attempt, code: AbortCode, message: string): void {
    if (attempt.ended || attempt.abort !== null) return;
    attempt.abort = { code, message };
    if (attempt.sent) {
      attempt.thread?.abort(attempt, code, message);
      if (code === "cancelled") attempt.listener.signalled("cancelled", this.#clock.now());
      if (code === "timeout") attempt.listener.signalled("timedOut", this.#clock.now());
    } else this.#end(attempt, attempt.outcome(null, "signal"));
  }

  /** It waits for another to end, and nobody wants to wait for that. */
  #recall(attempt: Attempt): void {
    if (attempt.ended || attempt.startedAt !== null || attempt.abort !== null) return;
    attempt.isRecalled = true;
    if (attempt.sent) attempt.thread?.recall(attempt);
    else this.#end(attempt, { kind: "handedBack", why: "no-lane" });
  }

  #end(attempt: Attempt, outcome: Outcome, durationMs = this.#runTime(attempt)): void {
    if (!this.#attempts.delete(attempt.id)) return;
    this.#placement.release(attempt);
    attempt.end(outcome, durationMs);
    this.#placement.refill(attempt.type);
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
            this.#placement.refill(thread.type);
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
        return attempt.listener.line({
          sequence,
          at: this.#fromMachine(at),
          level: LINE_LEVELS[level] ?? "info",
          message,
          fields,
        });
      }
      case PROGRESS:
        return attempt.listener.progress(entry[2], entry[3]);
      case COMPLETED: {
        const [, , durationMs, result] = entry;
        this.#placement.ran(attempt.type, durationMs);
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
    attempt.listener.started(this.#fromMachine(at));
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
    if (attempt.abort !== null) this.#end(attempt, attempt.outcome(null, "signal"));
    else if (attempt.isRecalled) this.#end(attempt, { kind: "handedBack", why: "no-lane" });
    else this.#placement.placeAgain(attempt);
  }

  // What hosts say, and what becomes of them

  #onNews(executor: Executor, news: HostNews): void {
    if (news[0] === "memory") {
      executor.overMemory = true;
      return;
    }
    if (news[0] === "resident") {
      executor.rssBytes = news[1];
      return;
    }
    if (news[0] === "processor") {
      this.#cpuMs += news[1] - executor.cpuMs;
      executor.cpuMs = news[1];
      return;
    }
    if (news[0] === "silence") {
      this.#log.warn("An executor host ended itself: this process was silent for too long", {
        pid: executor.pid,
      });
      // As if by our hand: what it cut off is handed back.
      executor.killed = true;
      executor.draining = true;
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
        return this.#placement.relieve(thread);
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
    this.#placement.remove(thread);
    this.#fleet.forget(thread);
    this.#placement.refill(thread.type);
  }

  #onHostGone(executor: Executor, end: ChildEnd): void {
    const threads = [...executor.threads.values()];
    for (const thread of threads) this.#placement.remove(thread);
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
    for (const { type } of threads) this.#placement.refill(type);
    this.#placement.startAlone();
  }

  /** The process or thread that held these attempts is gone. */
  #blame(attempts: readonly Attempt[], cause: FatalCause, message: string): void {
    const guilty = this.#placement.guiltyAmong(attempts);
    if (guilty?.abort === null) this.#end(guilty, fatal(cause, message));
    for (const attempt of attempts) this.#cutOff(attempt);
  }

  #cutOff(attempt: Attempt): void {
    if (attempt.ended) return;
    const untouched = !attempt.sent && attempt.abort === null;
    if (untouched && this.#stopping === null) this.#placement.placeAgain(attempt);
    else this.#end(attempt, attempt.outcome(null, "killed"));
  }

  #failUnsent(thread: Thread, message: string): void {
    for (const attempt of [...thread.attempts]) {
      if (!attempt.sent) this.#end(attempt, fatal("crashed", message));
    }
  }
}

function fatal(cause: FatalCause, message: string): Extract<Outcome, { kind: "failed" }> {
  const error: ErrorReport = { name: "JobCrashed", message, stack: null, causes: [] };
  return { kind: "failed", error, permanent: false, retryAfterMs: null, cause };
}
