/** An announcement as two texts: what seldom changes, and what changes often, which is nothing while idle. */
import type { RunningAttempt, WorkerInstance, WorkerJobType } from "../../actors/ports/presence.ts";

export type Announcement = Omit<WorkerInstance, "lastSeenAt">;

/** What seldom changes. */
interface About extends Omit<Announcement, "running" | "isStopping" | "jobTypes"> {
  readonly jobTypes: readonly Omit<WorkerJobType, "lanesBusy" | "lanesFree">[];
}

/** What changes often, with short names because it is written at each heartbeat. */
interface Busy {
  /** Running attempts: occurrence, due time, token. */
  readonly r: readonly (readonly [occurrenceId: string, scheduledFor: number, token: number])[];
  /** Lanes of the types that are not idle: busy and free ones. */
  readonly l: Readonly<Record<string, readonly [busy: number, free: number]>>;
  /** It stops. */
  readonly s?: 1;
}

/** `busy` is null for an instance that is idle. */
export function split(instance: Announcement): { readonly about: string; readonly busy: string | null } {
  const { running, isStopping, jobTypes, ...rest } = instance;
  const about: About = {
    ...rest,
    jobTypes: jobTypes.map(({ lanesBusy: _, lanesFree: __, ...offer }) => offer),
  };
  const lanes = jobTypes
    .filter((type) => type.lanesBusy !== 0 || type.lanesFree !== type.maxParallelJobs)
    .map((type) => [type.name, [type.lanesBusy, type.lanesFree]] as const);
  const isIdle = running.length === 0 && lanes.length === 0 && !isStopping;
  const busy: Busy = {
    r: running.map(({ occurrenceId, scheduledFor, token }) => [occurrenceId, scheduledFor, token]),
    l: Object.fromEntries(lanes),
    ...(isStopping ? { s: 1 } : {}),
  };
  return { about: JSON.stringify(about), busy: isIdle ? null : JSON.stringify(busy) };
}

/** Null when nothing is known about the instance: it says it again with its next announcement. */
export function join(
  aboutText: string | undefined,
  busyText: string | undefined,
  lastSeenAt: number,
): WorkerInstance | null {
  if (aboutText === undefined) return null;
  const { jobTypes, ...rest }: About = JSON.parse(aboutText);
  const busy: Busy = busyText === undefined ? { r: [], l: {} } : JSON.parse(busyText);
  return {
    ...rest,
    jobTypes: jobTypes.map((offer) => {
      const lanes = Object.hasOwn(busy.l, offer.name) ? busy.l[offer.name] : undefined;
      const [lanesBusy, lanesFree] = lanes ?? [0, offer.maxParallelJobs];
      return { ...offer, lanesBusy, lanesFree };
    }),
    running: busy.r.map(([occurrenceId, scheduledFor, token]): RunningAttempt => ({
      occurrenceId,
      scheduledFor,
      token,
    })),
    isStopping: busy.s === 1,
    lastSeenAt,
  };
}
