/**
 * What a crash or an outage left behind: occurrences nobody published, back-offs that are over, attempts whose
 * worker is gone.
 *
 * Publishing. The occurrence row is the outbox. A row that was never published, as far as known (`looks` 0), is
 * published. One that was, yet is unclaimed, is published again when its type's queue is empty, or when it was overtaken:
 * something that became ready well after its last look runs already (`overtaken.ts`), so its message is gone. Else it
 * waits its turn in a backlog and is looked at again later, each time twice as late, so that a backlog is never doubled.
 * One that no worker can take is looked at again as well, and at once when a worker that offers its type comes. News
 * that a queue is new has all rows of its type published, whatever was known of them; when the store is away just
 * then, the news is kept.
 *
 * Reaping. An attempt is kept alive by two paths: its lease in the store, and the presence of a worker that says it
 * runs it. It counts as lost only when its stored lease has ended *and* this leader has itself seen neither path
 * move for a lease and a margin by its own monotonic clock: change is trusted, not timestamps. So running attempts
 * are watched from their first second on, and while presence cannot be asked nobody is taken for lost. In embedded
 * mode the folder lock proves that no other process lives, so what another process ran is lost at once.
 */
import type { JobMessage } from "./domain/message.ts";
import { LOST_MARGIN_MS } from "./domain/silent_run.ts";
import type { Clock, Random } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Log } from "./ports/log.ts";
import type { Meter } from "./ports/meter.ts";
import type { Presence } from "./ports/presence.ts";
import type { PublishAnswer, Queue } from "./ports/queue.ts";
import type { Ledger, Outcomes, RecordAnswer, Recoverable, SilentAttempt } from "./ports/store.ts";
import { announceRecord } from "./announce.ts";
import { ClockSteps } from "./clock_steps.ts";
import { FullQueues } from "./full_queues.ts";
import type { JobTypes } from "./job_types.ts";
import { nextLookInMs, Overtaking } from "./overtaken.ts";
import { publishCommitted } from "./publish.ts";
import type { ActorContext, ActorDefinition, RunOutcome } from "./runtime/actor.ts";
import { Silence } from "./silence.ts";

type PrivateMessage =
  | { readonly type: "publishNow" }
  | { readonly type: "published"; readonly news: News; readonly pass: RunOutcome<PublishPass> }
  | { readonly type: "retryScheduled"; readonly readyAt: number }
  | { readonly type: "drained"; readonly jobType: string; readonly why: "room" | "new" }
  | { readonly type: "workersChanged" }
  | { readonly type: "publishedReleased" }
  | { readonly type: "reapNow" }
  | { readonly type: "waitsMoved"; readonly byMs: number; readonly moved: RunOutcome<boolean> }
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
}
type ReapPass = { readonly stale: boolean; readonly record: RecordAnswer | null };

/** What was heard and has not been acted on. A pass takes it, and what it could not act on is put back. */
interface News {
  /** Types whose queue was lost or had no consumer: to be published anew. Null: all, for no queue is from before. */
  readonly anew: Set<string | null>;
  /** A queue that was full has room: what it turned away is published without waiting for its turn. */
  hasRoom: boolean;
}

interface State {
  publishing: boolean;
  publishAsked: boolean;
  news: News;
  /** Types that no worker offered when something of theirs was to be published last. */
  readonly unroutable: Set<string>;
  readonly overtaking: Overtaking;
  readonly full: FullQueues;
  reaping: boolean;
  readonly silence: Silence;
  wakeAt: number;
  readonly clockSteps: ClockSteps;
  /** The wall clock was set back by so much, and what waits has not been moved yet; milliseconds. */
  setBackMs: number;
  movingWaits: boolean;
  readonly unsubscribe: () => void;
}

const PAGE = 5000;
/** A new row is looked at this long after it was made: until then its creator publishes it. */
const PUBLISHED_BY_CREATOR_MS = 10_000;
const POLL_MS = 2000;
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
        // A queue in this process holds nothing from before it.
        news: { anew: new Set(options.soleProcess ? [null] : []), hasRoom: false },
        unroutable: new Set(),
        overtaking: new Overtaking(),
        full: new FullQueues(deps.clock),
        reaping: false,
        silence: new Silence(deps, options.leaseMs, LOST_MARGIN_MS),
        wakeAt: Infinity,
        clockSteps: new ClockSteps(deps.clock),
        setBackMs: 0,
        movingWaits: false,
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
          onPublished(state, message, context);
          return state;
        case "retryScheduled":
          wakeAt(state, message.readyAt, context);
          return state;
        case "drained":
          state.full.drained(message.jobType);
          if (message.why === "new") state.news.anew.add(message.jobType);
          else state.news.hasRoom = true;
          startPublishing(state, context);
          return state;
        case "workersChanged":
          onWorkersChanged(state, context);
          return state;
        case "publishedReleased":
          return state;
        case "reapNow":
          lookAtClock(state, context);
          startReaping(state, context);
          return state;
        case "waitsMoved":
          state.movingWaits = false;
          onWaitsMoved(state, message, context);
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
    const { news } = state;
    state.news = { anew: new Set(), hasRoom: false };
    context.run(() => publishPass(state, news), (pass) => ({ type: "published", news, pass }));
  }

  function onPublished(
    state: State,
    { news, pass }: Extract<PrivateMessage, { type: "published" }>,
    context: Context,
  ): void {
    if (!pass.ok) {
      for (const jobType of news.anew) state.news.anew.add(jobType);
      if (news.hasRoom) state.news.hasRoom = true;
      deps.log.warn("Cannot look for unpublished occurrences, trying again: " + pass.error.message);
      context.after("publish", POLL_MS, { type: "publishNow" });
      return;
    }
    if (pass.value.more && news.hasRoom) state.news.hasRoom = true;
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

  async function publishPass(state: State, news: News): Promise<PublishPass> {
    const now = deps.clock.now();
    for (const jobType of news.anew) {
      await deps.ledger.wantPublishing(options.epoch, jobType, now);
      // From here on the rows say it.
      news.anew.delete(jobType);
    }
    // Room: also rows that wait for their first look, as far as they may run already.
    const until = news.hasRoom ? now + PUBLISHED_BY_CREATOR_MS : now;
    const page = await deps.ledger.recoverable(until, PAGE, state.full.passedOver());
    const rows = page.filter((row) => row.isReady);
    if (rows.length === 0) return { stale: false, more: false, nextAt: await nextLookAt(state) };

    const unpublished = await worthPublishing(rows, state.overtaking, now);
    const { timesDrained } = state.full;
    const answers = await deps.queue.publish(unpublished.map((row) => row.message));
    const answered = (wanted: PublishAnswer) =>
      new Set<Recoverable>(unpublished.filter((_, index) => answers[index] === wanted));
    const full = answered("full");
    const unroutable = answered("unroutable");
    noteUnroutable(state, unpublished, unroutable);
    deps.meter.count("occurrences_published_total", answers.filter((answer) => answer === "accepted").length);

    // What a full queue had no room for keeps its place: the queue says when it has drained.
    state.full.add([...full].map((row) => row.message), timesDrained);
    const settled = rows.filter((row) => !full.has(row));
    const current = settled.length === 0 || await deps.ledger.postpone(
      options.epoch,
      settled.map((row) => ({
        occurrenceId: row.message.occurrenceId,
        scheduledFor: row.message.scheduledFor,
        token: row.message.token,
        until: now + nextLookInMs(row, !unroutable.has(row)),
        reason: unroutable.has(row) ? noWorker(row.message) : null,
      })),
    );
    const more = page.length === PAGE;
    if (!more) state.full.looked(now, timesDrained);
    return { stale: !current, more, nextAt: await nextLookAt(state) };
  }

  /** Null: not known, for the rows of a full queue have wanted theirs since long. */
  async function nextLookAt(state: State): Promise<number | null> {
    return state.full.none ? await deps.ledger.nextActionAt() : null;
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
      state.news.anew.add(jobType);
    }
    startPublishing(state, context);
  }

  /** Rows never published, and published ones that were overtaken, or whose queue holds nothing any more. */
  async function worthPublishing(
    rows: readonly Recoverable[],
    overtaking: Overtaking,
    now: number,
  ): Promise<readonly Recoverable[]> {
    if (rows.every((row) => row.looks === 0)) return rows;
    const depth = await deps.queue.depth();
    const holds = (message: JobMessage) =>
      depth.some((one) =>
        one.jobType === message.jobType && one.pool === message.pool && one.ready + one.unacknowledged > 0
      );
    const overtaken = new Set(rows.filter((row) => overtaking.has(row, now) && holds(row.message)));
    if (overtaken.size > 0) {
      deps.log.info("Publishing again what younger ones overtook", { occurrences: overtaken.size });
    }
    return rows.filter((row) => row.looks === 0 || overtaken.has(row) || !holds(row.message));
  }

  // ----------------------------------------------------------------------------------------- the wall clock

  /**
   * Waits are stored as moments of the wall clock. Set back by an hour it would make a back-off of five seconds an hour
   * long, so the moments go back with it. Set forward it ends them early, as their moments say.
   */
  function lookAtClock(state: State, context: Context): void {
    const step = state.clockSteps.look();
    if (step !== null) {
      deps.log.warn("The wall clock was set, due times follow it", { stepMs: step.byMs });
      state.setBackMs = Math.max(0, state.setBackMs - step.byMs);
      state.overtaking.forget();
      state.full.forget();
    }
    if (state.setBackMs === 0 || state.movingWaits) return;
    const byMs = state.setBackMs;
    state.movingWaits = true;
    context.run(
      () => deps.ledger.clockWentBack(options.epoch, deps.clock.now(), byMs),
      (moved) => ({ type: "waitsMoved", byMs, moved }),
    );
  }

  function onWaitsMoved(
    state: State,
    { byMs, moved }: Extract<PrivateMessage, { type: "waitsMoved" }>,
    context: Context,
  ): void {
    if (!moved.ok) {
      deps.log.warn("Cannot move what waits with the clock, trying again: " + moved.error.message);
      return;
    }
    if (!moved.value) return options.onStaleEpoch(options.epoch);
    state.setBackMs = Math.max(0, state.setBackMs - byMs);
    startPublishing(state, context);
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
    const before = options.soleProcess ? Infinity : now + options.leaseMs + LOST_MARGIN_MS;
    const running = await deps.ledger.silentAttempts(before, PAGE);
    state.overtaking.sees(running, now);
    const isGone = (one: SilentAttempt) => options.soleProcess && one.instanceId !== options.instanceId;
    const silent = await state.silence.lost(running.filter((one) => !isGone(one)));
    const lost = [...running.filter(isGone), ...silent];
    if (lost.length === 0) return { stale: false, record: null };
    deps.log.warn("Attempts are lost: their worker is gone", { attempts: lost.length });
    const record = await deps.ledger.reap(options.epoch, lost, now, deps.random.next());
    if (record !== null) deps.meter.count("attempts_lost_total", record.changed.length);
    return { stale: record === null, record };
  }
}

function noWorker({ jobType, pool }: JobMessage): string {
  const where = pool === null ? "" : ` in pool ${pool}`;
  return `Waits for a worker: none offers ${jobType}${where}`;
}
