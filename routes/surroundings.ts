/** What stands around a run at this moment, as this instance sees it: asked all at once, each within its deadline. */
import { lapsingBefore } from "../actors/domain/silent_run.ts";
import type { Surroundings } from "../actors/domain/surroundings.ts";
import type { ApiDeps } from "./deps.ts";

/**
 * What is late by less is on its way: the store is polled for due jobs each 5 s, and looked through for what was not
 * published each 10 s. Milliseconds.
 */
const ON_ITS_WAY_MS = 10_000;

/** As many running attempts as the reaper looks at; those whose leases are renewed are not among them. */
const LAPSING_READ = 5000;

/** Throws Unavailable when the store cannot be asked; what else cannot be asked is null in the answer. */
export async function readSurroundings(deps: ApiDeps): Promise<Surroundings> {
  const { store, queue, jobTypes, clock, settings, servers } = deps;
  const { leaseMs } = settings;
  const [epochs, lapsing, workers, queues] = await Promise.all([
    store.ledger.epochs(1),
    store.ledger.silentAttempts(lapsingBefore(clock.now(), leaseMs), LAPSING_READ),
    jobTypes.refresh(true).catch(() => null),
    // The types are those that workers were heard of to offer.
    jobTypes.refresh().then(() => queue.depth()).catch(() => null),
  ]);
  return {
    now: clock.now(),
    instanceId: settings.instanceId,
    servers: servers(),
    canPublish: queue.canPublish(),
    leader: epochs[0] ?? null,
    workers,
    queues,
    lapsing,
    leaseMs,
    toleranceMs: ON_ITS_WAY_MS,
  };
}
