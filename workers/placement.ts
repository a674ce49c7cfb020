/**
 * Which attempt goes to which thread: to the crew of its type, or, when it is suspected of taking hosts down, to a
 * host of its own. What has not started when its thread spins, ends or dies is placed again.
 */
import type { Clock } from "../actors/ports/clock.ts";
import type { Attempt } from "./attempt.ts";
import { Crew } from "./crew.ts";
import type { Fleet } from "./fleet.ts";
import type { JobType } from "./job_types.ts";
import { Suspects } from "./suspects.ts";
import type { Thread } from "./thread.ts";

/** Hosts for suspects at once. Each runs one attempt. */
const ALONE_AT_ONCE = 2;
/** So often an attempt waits for its job file to load before the file itself is taken to be at fault. */
const FAILED_LOADS_AT_MOST = 3;

export interface PlacementDeps {
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** Gives the attempt a new id: its old one may still be on its way to a guest. */
  renumber(attempt: Attempt): void;
  /** No host could be started, or none stayed until the job file was loaded. */
  cannotStart(attempt: Attempt, why: string): void;
}

export class Placement {
  readonly #crews: ReadonlyMap<JobType, Crew>;
  readonly #suspects = new Suspects();
  readonly #alone: Attempt[] = [];
  #stopped = false;

  constructor(jobTypes: Iterable<JobType>, private readonly deps: PlacementDeps) {
    this.#crews = new Map(
      [...jobTypes].map((
        type,
      ) => [type, new Crew(type, (capacity) => deps.fleet.startThread(type, capacity))]),
    );
  }

  /** Nothing is placed any more; what waits is the caller's to end. */
  stop(): void {
    this.#stopped = true;
  }

  place(attempt: Attempt): void {
    try {
      if (attempt.failedLoads >= FAILED_LOADS_AT_MOST) {
        throw new Error(`its host ended ${attempt.failedLoads} times while it loaded the job file`);
      }
      if (this.#suspects.mustRunAlone(attempt.request)) {
        this.#alone.push(attempt);
        this.startAlone();
      } else this.#crewOf(attempt.type).place(attempt);
    } catch (error) {
      this.deps.cannotStart(attempt, (error as Error).message);
    }
  }

  /**
   * It begins when `before` ends: in the same thread, by the guest itself, so that no time is lost on the way; or else it
   * is placed then.
   */
  placeBehind(attempt: Attempt, before: Attempt): void {
    attempt.after = before;
    before.whenEnded(() => {
      attempt.after = null;
      if (!attempt.ended && attempt.thread === null) this.place(attempt);
    });
    const { thread } = before;
    if (thread === null || before.startedAt === null || before.abort !== null) return;
    if (thread.stuck || thread.draining || thread.executor.alone || thread.free === 0) return;
    if (!this.#suspects.mustRunAlone(attempt.request)) thread.take(attempt);
  }

  /** Its thread will never start it. */
  placeAgain(attempt: Attempt): void {
    if (attempt.thread?.ready === false) attempt.failedLoads += 1;
    attempt.thread?.release(attempt, this.deps.clock.mono());
    attempt.sent = false;
    this.deps.renumber(attempt);
    if (attempt.after === null) this.place(attempt);
  }

  /** The thread is about to end. */
  withdraw(thread: Thread): void {
    this.#crewOf(thread.type).remove(thread);
    for (const attempt of thread.attempts) {
      if (attempt.abort !== null || attempt.startedAt !== null) continue;
      if (attempt.sent) thread.recall(attempt);
      else this.placeAgain(attempt);
    }
  }

  /** The thread does not yield: what was sent there and has not started runs elsewhere, if there is room. */
  relieve(thread: Thread): void {
    thread.stuck = true;
    let room = this.#crewOf(thread.type).roomElsewhere();
    for (const attempt of thread.attempts) {
      if (room <= 0) return;
      if (!attempt.sent || attempt.abort !== null || attempt.startedAt !== null) continue;
      if (attempt.after !== null) continue;
      room -= 1;
      thread.recall(attempt);
    }
  }

  /** The thread is no more. */
  remove(thread: Thread): void {
    this.#crewOf(thread.type).remove(thread);
  }

  /** A cell of this type has become free, or a thread has left. */
  refill(type: JobType): void {
    const crew = this.#crewOf(type);
    if (this.#stopped || !crew.anyWaiting) return;
    for (const attempt of crew.takeWaiting()) this.place(attempt);
  }

  /** Starts suspects, as far as there may be hosts for them. */
  startAlone(): void {
    if (this.#stopped) return;
    let hosts = [...this.deps.fleet.executors].filter((one) => one.alone).length;
    for (; hosts < ALONE_AT_ONCE; hosts++) {
      const attempt = this.#alone.shift();
      if (attempt === undefined) return;
      try {
        this.deps.fleet.startAlone(attempt.type).take(attempt);
      } catch (error) {
        this.deps.cannotStart(attempt, (error as Error).message);
      }
    }
  }

  /** The attempt has ended, or is about to: its place is free. */
  release(attempt: Attempt): void {
    const { thread } = attempt;
    if (thread === null) {
      this.#crewOf(attempt.type).forget(attempt);
      const at = this.#alone.indexOf(attempt);
      if (at >= 0) this.#alone.splice(at, 1);
      return;
    }
    thread.release(attempt, this.deps.clock.mono());
    if (!thread.executor.alone) return;
    if (!thread.gone) this.#suspects.acquit(attempt.request);
    thread.executor.kill();
  }

  /** A run of this type took so long. */
  ran(type: JobType, durationMs: number): void {
    this.#crewOf(type).ran(durationMs);
  }

  /**
   * The process or thread that held these attempts died, and one of them did it. Returns it when that is certain;
   * else each of them that was not told to end is a suspect from now on.
   */
  guiltyAmong(attempts: readonly Attempt[]): Attempt | null {
    // What was never sent, or still waits, did nothing. What was told to end may well have done it.
    const there = attempts.filter((attempt) => attempt.sent && attempt.after === null);
    const [only] = there;
    if (only !== undefined && there.length === 1) {
      this.#suspects.convict(only.request);
      return only;
    }
    for (const attempt of there) this.#suspects.suspect(attempt.request);
    return null;
  }

  #crewOf(type: JobType): Crew {
    const crew = this.#crews.get(type);
    if (crew === undefined) throw new TypeError(`No such job type: ${type.offer.name}`);
    return crew;
  }
}
