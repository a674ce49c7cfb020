/**
 * What a crash or an outage left behind: occurrences nobody published, back-offs that are over, attempts whose
 * worker is gone.
 *
 * Publishing. The occurrence row is the outbox. A row that was never published, as far as known (`looks` 0), is
 * published. One that was, yet is unclaimed, is published again only when its type's queue is empty; else it waits
 * its turn in a backlog and is looked at again later, each time twice as late, so that a backlog is never doubled.
 * One that no worker can take is looked at again as well, and at once when a worker that offers its type comes.
 *
 * Reaping. An attempt is kept alive by two paths: its lease in the store, and the presence of a worker that says it
 * runs it. It counts as lost only when its stored lease has ended *and* this leader has itself seen neither path
 * move for a lease and a margin by its own monotonic clock: change is trusted, not timestamps. So running attempts
 * are watched from their first second on, and while presence cannot be asked nobody is taken for lost. In embedded
 * mode the folder lock proves that no other process lives, so what another process ran is lost at once.
 */
import type { JobMessage } from "./domain/message.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Presence } from "./ports/presence.ts";
import type { PublishAnswer, Queue } from "./ports/queue.ts";
import type { Ledger, Outcomes, RecordAnswer, Recoverable, SilentAttempt } from "./ports/store.ts";
import { announceRecord } from "./announce.ts";
import type { JobTypes } from "./job_types.ts";
import { publishCommitted } from "./publish.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";

type PrivateMessage =
  | { readonly type: "publishNow" }
  | { readonly type: "published"; readonly pass: RunOutcome<PublishPass> }
  | { readonly type: "retryScheduled"; readonly readyAt: number }
  | { readonly type: "drained"; readonly jobType: string; readonly why: "room" | "new" }
  | { readonly type: "workersChanged" }
  | { readonly type: "publishedReleased" }
  | { readonly type: "reapNow" }
  | { readonly type: "reaped"; readonly pass: RunOutcome<ReapPass> };

export interface RecoveryDeps {
  readonly ledger: Ledger;
  readonly queue: Queue;
  readonly store: { readonly outcomes: Pick<Outcomes, "notePublished"> };
  readonly presence: Presence;
  readonly jobTypes: JobTypes;
  readonly events: Events;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
}

export interface RecoveryOptions {
  readonly epoch: number;
  readonly instanceId: string;
  readonly leaseMs: number;
  /** True when no other process can be running anything (embedded mode). */
  readonly soleProcess: boolean;
  readonly onStaleEpoch: (epoch: number) => void;
}

interface PublishPass {
  readonly stale: boolean;
  readonly more: boolean;
  readonly nextAt: number | null;
  /** Took rows ahead of their turn, because a full queue had room. */
  readonly ahead: boolean;
}
type ReapPass = { readonly stale: boolean; readonly record: RecordAnswer | null };

/** What was last seen of a running attempt, and since when it has not moved (by the monotonic clock). */
interface Sign {
  /** The stored lease. */
  readonly leaseUntil: number;
  /** When a worker last said that it runs it, by that announcement's own time; null when none does. */
  readonly announcedAt: number | null;
  readonly since: number;
}
type Seen = Map<string, Sign>;

interface State {
  publishing: boolean;
  publishAsked: boolean;
  /** Types whose queue was lost or had no consumer: to be published anew. */
  readonly anew: Set<string>;
  /** Types that no worker offered when something of theirs was to be published last. */
  readonly unroutable: Set<string>;
  /** A queue that was full has room: what it turned away is published without waiting for its turn. */
  hasRoom: boolean;
  /** The queue holds nothing from before this process: everything is to be published once. */
  queueIsNew: boolean;
  reaping: boolean;
  seen: Seen;
  wakeAt: number;
  readonly unsubscribe: () => void;
}

const PAGE = 5000;
/** A new row is looked at this long after it was made: until then its creator publishes it. */
const PUBLISHED_BY_CREATOR_MS = 10_000;
const POLL_MS = 2000;
const LOOK_AGAIN_MS = 30_000;
const LOOK_AGAIN_AT_MOST_MS = 3_600_000;
const LOOK_FOR_WORKER_AT_MOST_MS = 300_000;
const MARGIN_MS = 1500;
const REAP_EVERY_AT_MOST_MS = 1000;

export function recoveryActor(
  deps: RecoveryDeps,
  options: RecoveryOptions,
): ActorDefinition<State, never, PrivateMessage> {
  type Context = ActorContext<PrivateMessage>;

  return {
    kind: "recovery",

    start(context) {
      const subscriptions = [
        deps.events.subscribe(["retryScheduled"], (events) => {
          for (const event of events) if (event.type === "retryScheduled") context.inject(event);
        }),
        deps.events.subscribe(["workersChanged"], () => context.inject({ type: "workersChanged" })),
        deps.queue.onDrained((jobType, why) => context.inject({ type: "drained", jobType, why })),
      ];
      context.every("reap", Math.min(options.leaseMs / 3, REAP_EVERY_AT_MOST_MS), { type: "reapNow" });
      const state: State = {
        publishing: false,
        publishAsked: false,
        anew: new Set(),
        unroutable: new Set(),
        hasRoom: false,
        queueIsNew: options.soleProcess,
        reaping: false,
        seen: new Map(),
        wakeAt: Infinity,
        unsubscribe: () => subscriptions.forEach((end) => end()),
      };
      startReaping(state, context);
      startPublishing(state, context);
      return state;
    },

    receive(state, message, context) {
      switch (message.type) {
        case "publishNow":
          startPublishing(state, context);
          return state;
        case "published":
          state.publishing = false;
          onPublished(state, message.pass, context);
          return state;
        case "retryScheduled":
          wakeAt(state, message.readyAt, context);
          return state;
        case "drained":
          if (message.why === "new") state.anew.add(message.jobType);
          else state.hasRoom = true;
          startPublishing(state, context);
          return state;
        case "workersChanged":
          onWorkersChanged(state, context);
          return state;
        case "publishedReleased":
          return state;
        case "reapNow":
          startReaping(state, context);
          return state;
        case "reaped":
          state.reaping = false;
          onReaped(message.pass, context);
          return state;
        default:
          return message satisfies never;
      }
    },

    stopped(state) {
      state.unsubscribe();
    },
  };

  // -------------------------------------------------------------------------------------------- publishing

  function startPublishing(state: State, context: Context): void {
    state.publishAsked = state.publishing;
    if (state.publishing) return;
    state.publishing = true;
    const anew: (string | null)[] = state.queueIsNew ? [null] : [...state.anew];
    const ahead = state.hasRoom;
    state.queueIsNew = false;
    state.hasRoom = false;
    state.anew.clear();
    context.run(() => publishPass(state, anew, ahead), (pass) => ({ type: "published", pass }));
  }

  function onPublished(state: State, pass: RunOutcome<PublishPass>, context: Context): void {
    if (!pass.ok) {
      deps.log.warn("Cannot look for unpublished occurrences, trying again: " + pass.error.message);
      context.after("publish", POLL_MS, { type: "publishNow" });
      return;
    }
    if (pass.value.more && pass.value.ahead) state.hasRoom = true;
    if (pass.value.stale) options.onStaleEpoch(options.epoch);
    else if (pass.value.more || state.publishAsked) startPublishing(state, context);
    else {
      state.wakeAt = Infinity;
      wakeAt(state, Math.min(pass.value.nextAt ?? Infinity, deps.clock.now() + POLL_MS), context);
    }
  }

  function wakeAt(state: State, at: number, context: Context): void {
    if (at >= state.wakeAt) return;
    state.wakeAt = at;
    context.after("publish", Math.max(0, at - deps.clock.now()), { type: "publishNow" });
  }

  /** `ahead`: also takes rows that wait for their first look, as far as they may run already. */
  async function publishPass(
    state: State,
    anew: readonly (string | null)[],
    ahead: boolean,
  ): Promise<PublishPass> {
    const now = deps.clock.now();
    for (const jobType of anew) await deps.ledger.wantPublishing(options.epoch, jobType, now);
    const page = await deps.ledger.recoverable(ahead ? now + PUBLISHED_BY_CREATOR_MS : now, PAGE);
    const rows = page.filter((row) => row.readyAt <= now);
    if (rows.length === 0) {
      return { stale: false, more: false, nextAt: await deps.ledger.nextActionAt(), ahead };
    }

    const unpublished = await worthPublishing(rows);
    const answers = await deps.queue.publish(unpublished.map((row) => row.message));
    const answered = (wanted: PublishAnswer) =>
      new Set<Recoverable>(unpublished.filter((_, index) => answers[index] === wanted));
    const full = answered("full");
    const unroutable = answered("unroutable");
    noteUnroutable(state, unpublished, unroutable);
    deps.meter.count("occurrences_published_total", answers.filter((answer) => answer === "accepted").length);

    // What the full queue had no room for keeps its place: the queue says when it has drained.
    const settled = rows.filter((row) => !full.has(row));
    const current = settled.length === 0 || await deps.ledger.postpone(
      options.epoch,
      settled.map((row) => ({
        occurrenceId: row.message.occurrenceId,
        scheduledFor: row.message.scheduledFor,
        until: now + Math.min(
          LOOK_AGAIN_MS * 2 ** row.looks,
          unroutable.has(row) ? LOOK_FOR_WORKER_AT_MOST_MS : LOOK_AGAIN_AT_MOST_MS,
        ),
        reason: unroutable.has(row) ? noWorker(row.message) : null,
      })),
    );
    const more = page.length === PAGE && full.size === 0;
    const nextAt = full.size > 0 ? null : await deps.ledger.nextActionAt();
    return { stale: !current, more, nextAt, ahead };
  }

  function noteUnroutable(
    state: State,
    published: readonly Recoverable[],
    unroutable: ReadonlySet<Recoverable>,
  ): void {
    for (const row of published) {
      const { jobType } = row.message;
      if (unroutable.has(row)) state.unroutable.add(jobType);
      else state.unroutable.delete(jobType);
    }
  }

  /** A worker has come, or gone: what waited for a type may find one now. */
  function onWorkersChanged(state: State, context: Context): void {
    const offered = [...state.unroutable].filter((jobType) => deps.jobTypes.offer(jobType) !== null);
    if (offered.length === 0) return;
    for (const jobType of offered) {
      state.unroutable.delete(jobType);
      state.anew.add(jobType);
    }
    startPublishing(state, context);
  }

  /** Rows never published, and published ones whose queue holds nothing any more. */
  async function worthPublishing(rows: readonly Recoverable[]): Promise<readonly Recoverable[]> {
    if (rows.every((row) => row.looks === 0)) return rows;
    const depth = await deps.queue.depth();
    const holds = (message: JobMessage) =>
      depth.some((one) =>
        one.jobType === message.jobType && one.pool === message.pool && one.ready + one.unacknowledged > 0
      );
    return rows.filter((row) => row.looks === 0 || !holds(row.message));
  }

  // ----------------------------------------------------------------------------------------------- reaping

  function startReaping(state: State, context: Context): void {
    if (state.reaping) return;
    state.reaping = true;
    context.run(() => reapPass(state), (pass) => ({ type: "reaped", pass }));
  }

  function onReaped(pass: RunOutcome<ReapPass>, context: Context): void {
    if (!pass.ok) {
      deps.log.warn("Cannot look for lost attempts, trying again: " + pass.error.message);
      return;
    }
    if (pass.value.stale) options.onStaleEpoch(options.epoch);
    const { record } = pass.value;
    if (record === null) return;
    announceRecord(deps, record);
    context.run(() => publishCommitted(deps, record.released), () => ({ type: "publishedReleased" }));
  }

  async function reapPass(state: State): Promise<ReapPass> {
    const now = deps.clock.now();
    // Leases that end later than this are no concern yet: there is time to watch them for their length.
    const before = options.soleProcess ? Infinity : now + options.leaseMs + MARGIN_MS;
    const running = await deps.ledger.silentAttempts(before, PAGE);
    const isGone = (one: SilentAttempt) => options.soleProcess && one.instanceId !== options.instanceId;
    const silent = await lostToSilence(state, running.filter((one) => !isGone(one)));
    const lost = [...running.filter(isGone), ...silent];
    if (lost.length === 0) return { stale: false, record: null };
    deps.log.warn("Attempts are lost: their worker is gone", { attempts: lost.length });
    const record = await deps.ledger.reap(options.epoch, lost, now, deps.random.next());
    if (record !== null) deps.meter.count("attempts_lost_total", record.changed.length);
    return { stale: record === null, record };
  }

  async function lostToSilence(
    state: State,
    running: readonly SilentAttempt[],
  ): Promise<readonly SilentAttempt[]> {
    if (running.length === 0) {
      state.seen.clear();
      return [];
    }
    const announced = new Map<string, number>();
    for (const instance of await deps.presence.list()) {
      for (const one of instance.running) announced.set(keyOf(one), instance.lastSeenAt);
    }
    const mono = deps.clock.mono();
    const now = deps.clock.now();
    const seen: Seen = new Map();
    const lost = running.filter((attempt) => {
      const { leaseUntil } = attempt;
      const key = keyOf(attempt);
      const before = state.seen.get(key);
      const announcedAt = announced.get(key) ?? before?.announcedAt ?? null;
      const isStill = before?.leaseUntil === leaseUntil && before.announcedAt === announcedAt;
      const since = isStill ? before.since : mono;
      seen.set(key, { leaseUntil, announcedAt, since });
      return leaseUntil <= now && mono - since >= options.leaseMs + MARGIN_MS;
    });
    state.seen = seen;
    return lost;
  }
}

function noWorker({ jobType, pool }: JobMessage): string {
  const where = pool === null ? "" : ` in pool ${pool}`;
  return `Waits for a worker: none offers ${jobType}${where}`;
}

function keyOf(attempt: { readonly occurrenceId: string; readonly token: number }): string {
  return `${attempt.occurrenceId}/${attempt.token}`;
}
