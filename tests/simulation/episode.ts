/**
 * One simulated history: an installation lives for some hours under the faults of its seed, is then left alone until
 * everything has come to its end, and is judged by the judge of the real clusters.
 */
import { migrateEmbeddedStore } from "../../infra/embedded/store.ts";
import type { ClusterHistory } from "../support/cluster_history.ts";
import { describe, judge, type Judgement } from "../support/cluster_judge.ts";
import { Clients, type SimulatedJob } from "./clients.ts";
import { Installation } from "./installation.ts";
import type { Mutant } from "./mutant.ts";
import { judgeOperators, readBulk } from "./operator_judge.ts";
import { Nemesis } from "./nemesis.ts";
import type { Profile } from "./profile.ts";
import { HEEDS_AT_MOST_MS } from "./simulated_pool.ts";
import { installWitness, readStore, type StoredHistory } from "./witness.ts";
import { World } from "./world.ts";

export interface EpisodeOptions {
  readonly seed: number;
  readonly hours: number;
  /** Default: the system as it is. */
  readonly mutant?: Mutant;
  /** Takes the place of what the seed draws. */
  readonly profile?: Partial<Profile>;
  /** How long it may take until one more has ended of all that was begun, once nothing goes wrong any more. Default 8. */
  readonly settleHours?: number;
}

export interface Episode {
  readonly seed: number;
  readonly profile: Profile;
  readonly history: ClusterHistory;
  readonly judgement: Judgement;
  /** Everything that speaks against it, in words; empty when all promises hold. */
  readonly violations: readonly string[];
  /** SHA-256 of the history, hexadecimal. */
  readonly hash: string;
  readonly events: number;
  /** Hours that were asked for: what a replay takes. */
  readonly asked: number;
  /** Simulated, with the time it took until all was settled. */
  readonly hours: number;
}

const HOUR_MS = 3_600_000;
const SETTLE_HOURS = 8;
const LOOK_EVERY_MS = 60_000;
/** Due times that are younger than this may still be undecided. */
const UNDECIDED_MS = 15_000;
/** After a freeze a run goes on until the watch has noticed and its code has heeded the signal. */
const AFTER_FREEZE_MS = HEEDS_AT_MOST_MS + 1500;

export async function runEpisode(options: EpisodeOptions): Promise<Episode> {
  const { seed, hours, mutant = null, profile = {}, settleHours = SETTLE_HOURS } = options;
  const folder = await Deno.makeTempDir({ prefix: "milvaion-simulation-" });
  try {
    migrateEmbeddedStore(folder, { dryRun: false });
    installWitness(folder);
    const world = await World.open({ seed, folder, mutant, profile });
    const { time } = world;
    const installation = Installation.start(world);
    const clients = new Clients(world, () => installation.apis);
    await time.until(clients.start());
    const nemesis = new Nemesis(world, installation);
    void nemesis.start();
    await time.advance(hours * HOUR_MS);

    await time.until(nemesis.stop());
    world.isCalm = true;
    await clients.stop();
    const pausedAt = await settle(world, clients, settleHours * HOUR_MS);
    await installation.close();
    await time.until(world.closeStore());
    return await judged({ world, clients, pausedAt, asked: hours });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** No more due times, and all that was begun comes to its end. Gives when the last due time had to be decided. */
async function settle(world: World, clients: Clients, atMostMs: number): Promise<number> {
  const { time } = world;
  // Pauses that clients have asked for are over by now.
  await time.advance(2 * LOOK_EVERY_MS);
  const pausedAt = world.trueNow();
  const pause = { reason: "the simulation is over", by: "client", since: pausedAt, until: null };
  for (const { id } of clients.jobs) await time.until(world.store.jobs.setPause(id, pause));
  let left = Infinity;
  for (let unmoved = 0; unmoved < atMostMs; unmoved += LOOK_EVERY_MS) {
    await time.advance(LOOK_EVERY_MS);
    const { byStatus } = await time.until(world.store.history.counts());
    const active = byStatus.Queued + byStatus.Running + byStatus.Unknown + await time.until(itemsLeft(world));
    if (active === 0) break;
    // A long queue of long runs is no fault as long as it gets shorter.
    if (active < left) unmoved = 0;
    left = Math.min(left, active);
  }
  return pausedAt;
}

/** Items of bulk actions that have no end yet. */
async function itemsLeft({ store: { bulk } }: World): Promise<number> {
  let left = 0;
  for (const id of await bulk.unsettled(1000)) {
    const action = await bulk.get(id);
    // Settled a moment later: the leader has yet to note so.
    left += Math.max(1, (action?.counts.waiting ?? 0) + (action?.counts.on ?? 0));
  }
  return left;
}

interface Ended {
  readonly world: World;
  readonly clients: Clients;
  readonly pausedAt: number;
  readonly asked: number;
}

async function judged({ world, clients, pausedAt, asked }: Ended): Promise<Episode> {
  const { seed } = world;
  const stored = readStore(world.folder, world.commits, world);
  const history: ClusterHistory = {
    ...stored,
    jobs: clients.jobs.map((job) => ({
      id: job.id,
      policy: job.policy,
      dueTimes: Clients.dueTimes(job, decidedUntil(job, stored, pausedAt)),
    })),
    runs: world.runs,
    calls: world.calls,
    faults: world.faults,
    acknowledged: [],
    settled: true,
  };
  const judgement = judge(history, { clockMs: 1, afterFreezeMs: AFTER_FREEZE_MS });
  return {
    seed,
    profile: world.profile,
    history,
    judgement,
    violations: [
      ...judgement.verdicts.flatMap(({ invariant, violations }) =>
        violations.map((what) => `${invariant}: ${what}`)
      ),
      ...judgeOperators({
        ...stored,
        jobs: clients.jobs,
        leftOut: clients.operators.leftOut,
        bulk: readBulk(world.folder),
      }),
      ...world.crashes.map((what) => `crash: ${what}`),
      ...(stored.integrity === "ok" ? [] : [`integrity: ${stored.integrity}`]),
    ],
    hash: await sha256(JSON.stringify([
      world.time.digest,
      history.edges,
      history.ranges,
      history.raises,
      history.runs,
      history.calls,
      history.faults,
    ])),
    events: world.time.events,
    asked,
    hours: world.time.mono / HOUR_MS,
  };
}

/**
 * Up to when due times must be, or may be, decided. Clocks that were ahead for a while may have decided more than is
 * due; less is a schedule that stands still.
 */
function decidedUntil(
  { id, executeAt, runLimit }: SimulatedJob,
  stored: Pick<StoredHistory, "nextDueAt" | "occurrences">,
  pausedAt: number,
): number {
  const nextDueAt = stored.nextDueAt.get(id) ?? null;
  if (executeAt !== null && nextDueAt === null) return Infinity;
  // The schedule has ended with its last run, and is judged to have had all of them.
  if (runLimit !== null && nextDueAt === null) {
    return 1 + stored.occurrences.reduce(
      (last, { jobId, scheduled, dueAt }) => jobId === id && scheduled ? Math.max(last, dueAt) : last,
      0,
    );
  }
  return Math.max(nextDueAt ?? 0, pausedAt - UNDECIDED_MS);
}

/** For people: the verdicts of a history, and what else speaks against it. */
export function report({ judgement, violations }: Episode): string {
  const told = judgement.verdicts.map(({ invariant }) => `${invariant}: `);
  const others = violations.filter((one) => !told.some((invariant) => one.startsWith(invariant)));
  return [describe(judgement), ...others.slice(0, 20)].join("\n");
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
