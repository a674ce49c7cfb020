/**
 * A run whose worker is silent: since when, and when it is taken for lost. Two paths keep a run alive, its lease and
 * the presence of a worker that names it (`actors/silence.ts`); what is told here goes by both, as the reaper does. A
 * worker keeps both up for a run that has ended, too, until its report is delivered.
 */
import { agoText, countText, type Evidence, evidence, momentText } from "./explanation.ts";
import { type Hindrance, hindrance } from "./hindrance.ts";
import type { Occurrence } from "./occurrence.ts";
import { leaderlessSince, type Surroundings, type WorkerStanding } from "./surroundings.ts";

/** The reaper has to have seen neither path move for a lease and this, milliseconds. */
export const LOST_MARGIN_MS = 1500;

/** Silent is who was not heard of for so much of a lease: one renewal that is late is no news, each third there is one. */
const SILENT_AFTER = 1 / 2;

/** A running attempt whose lease was not renewed for a while. Moments are epoch milliseconds. */
export interface LapsingAttempt {
  readonly occurrenceId: string;
  readonly token: number;
  readonly instanceId: string;
  readonly leaseUntil: number;
}

/** Leases that end before this moment have not been renewed for so long that their worker may be silent. */
export function lapsingBefore(now: number, leaseMs: number): number {
  return now + leaseMs * (1 - SILENT_AFTER);
}

/** That the worker of this run is silent, or cannot report; nothing while it can, or the run is none. */
export function silentHindrances(
  around: Surroundings,
  run: Pick<Occurrence, "id" | "scheduledFor" | "token" | "status" | "instanceId">,
): readonly Hindrance[] {
  const { id, token, instanceId } = run;
  if (run.status !== "Running" || instanceId === null) return [];
  const { now, leaseMs, workers } = around;
  const who = `Worker instance ${instanceId}, which runs occurrence ${id},`;
  const found = [evidence("occurrence", id, run.scheduledFor), evidence("worker", instanceId)];
  const worker = workers?.find((one) => one.instanceId === instanceId);
  const lapsing = around.lapsing.find((one) => one.occurrenceId === id && one.token === token);
  if (lapsing === undefined) {
    if (worker !== undefined) return heldBack(worker, found);
    if (workers === null) return [];
    const sentence =
      `${who} is not there any more. Its report may still come; else the run is taken for lost when ` +
      "its lease has ended.";
    return [hindrance("worker-silent", sentence, { evidence: found })];
  }
  const isNamed = worker?.running.some((one) => one.occurrenceId === id && one.token === token) === true;
  const heardAt = Math.max(lapsing.leaseUntil - leaseMs, isNamed ? worker.lastSeenAt : -Infinity);
  const isSilent = (since: number) => now - since > leaseMs * SILENT_AFTER;
  if (!isSilent(heardAt)) return heldBack(worker, found);
  const since = worker === undefined || !isSilent(worker.lastSeenAt)
    ? heardAt
    : Math.max(heardAt, worker.lastSeenAt);
  const told = `${momentText(since)} (${agoText(now - since)})`;
  const what = worker !== undefined && !isSilent(worker.lastSeenAt)
    ? `is there and has not said since ${told} that it still runs it: its report may be on its way`
    : `has been silent since ${told}`;
  const lost = lostAt(around, heardAt);
  const then = workers === null
    ? "While presence cannot be asked, no run is taken for lost."
    : lost === null
    ? "Nobody leads, so nobody takes the run for lost until somebody does."
    : `Unless it is heard of again, the run is taken for lost at about ${
      momentText(lost)
    } (its lease ends at ${momentText(lapsing.leaseUntil)}).`;
  return [hindrance("worker-silent", `${who} ${what}. ${then}`, { since, until: lost, evidence: found })];
}

function heldBack(worker: WorkerStanding | undefined, found: readonly Evidence[]): readonly Hindrance[] {
  const held = worker?.reportsHeldBack ?? 0;
  if (worker === undefined || held === 0) return [];
  const sentence = `Worker instance ${worker.instanceId} cannot reach the broker and holds back ${
    countText(held, "report")
  }, which ${held === 1 ? "goes" : "go"} out when it can: the run may have ended already.`;
  return [hindrance("reports-held-back", sentence, { evidence: found })];
}

/** When the leader takes for lost what was last heard of at a moment; null while nobody can. */
function lostAt(around: Surroundings, heardAt: number): number | null {
  const { leader, workers, leaseMs } = around;
  if (workers === null || leader === null || leaderlessSince(around, 0) !== null) return null;
  // It trusts what it has seen itself.
  return Math.max(heardAt, leader.since) + leaseMs + LOST_MARGIN_MS;
}
