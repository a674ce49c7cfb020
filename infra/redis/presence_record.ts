/** An announcement as two texts: what seldom changes, and what changes often, which is nothing while idle. */
import type { CpuUse } from "../../actors/domain/bottleneck_evidence.ts";
import {
  isModest,
  type RunningAttempt,
  type WorkerInstance,
  type WorkerJobType,
  type WorkerLoad,
} from "../../actors/ports/presence.ts";

export type Announcement = Omit<WorkerInstance, "lastSeenAt">;

/** What seldom changes. */
interface About
  extends Omit<Announcement, "running" | "reportsHeldBack" | "isStopping" | "jobTypes" | "load"> {
  readonly jobTypes: readonly Omit<WorkerJobType, "lanesBusy" | "lanesFree">[];
  /** What it may take, bytes; absent where nobody says. */
  readonly memoryLimit?: number;
}

/** What changes often, with short names because it is written at each heartbeat. */
interface Busy {
  /** Running attempts: occurrence, due time, token. */
  readonly r: readonly (readonly [occurrenceId: string, scheduledFor: number, token: number])[];
  /** Lanes of the types that are not idle: busy and free ones. */
  readonly l: Readonly<Record<string, readonly [busy: number, free: number]>>;
  /** Reports that it holds back, when there are some. */
  readonly h?: number;
  /** It stops. */
  readonly s?: 1;
  /** What it takes: memory in KiB, delay of its event loop in milliseconds, then the largest job data, if any. */
  readonly m?: readonly [rssKib: number, delayMs: number, jobType?: string, bytes?: number];
  /** Processors that it uses, in hundredths; that it may use; hundredths of its machine that are busy, if it knows. */
  readonly c?: readonly [used: number, processors: number, machine?: number];
}

/** `busy` is null for an instance that is idle. */
export function split(instance: Announcement): { readonly about: string; readonly busy: string | null } {
  const { running, reportsHeldBack, isStopping, jobTypes, load, ...rest } = instance;
  const memoryLimit = load?.memoryLimitBytes ?? null;
  const about: About = {
    ...rest,
    jobTypes: jobTypes.map(({ lanesBusy: _, lanesFree: __, ...offer }) => offer),
    ...(memoryLimit === null ? {} : { memoryLimit }),
  };
  const lanes = jobTypes
    .filter((type) => type.lanesBusy !== 0 || type.lanesFree !== type.maxParallelJobs)
    .map((type) => [type.name, [type.lanesBusy, type.lanesFree]] as const);
  const isIdle = running.length === 0 && reportsHeldBack === 0 && lanes.length === 0 && !isStopping &&
    (load === null || isModest(load));
  const busy: Busy = {
    r: running.map(({ occurrenceId, scheduledFor, token }) => [occurrenceId, scheduledFor, token]),
    l: Object.fromEntries(lanes),
    ...(reportsHeldBack > 0 ? { h: reportsHeldBack } : {}),
    ...(isStopping ? { s: 1 } : {}),
    ...(load === null ? {} : { m: loadText(load) }),
    ...(load === null || load.cpu === null ? {} : { c: cpuText(load.cpu) }),
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
  const { jobTypes, memoryLimit, ...rest }: About = JSON.parse(aboutText);
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
    reportsHeldBack: busy.h ?? 0,
    isStopping: busy.s === 1,
    load: loadOf(busy, memoryLimit ?? null),
    lastSeenAt,
  };
}

function loadText({ rssBytes, eventLoopDelayMs, largestPayload }: WorkerLoad): NonNullable<Busy["m"]> {
  const figures = [Math.round(rssBytes / 1024), Math.round(eventLoopDelayMs)] as const;
  return largestPayload === null ? figures : [...figures, largestPayload.jobType, largestPayload.bytes];
}

function cpuText({ used, processors, machineShare }: CpuUse): NonNullable<Busy["c"]> {
  const figures = [Math.round(used * 100), processors] as const;
  return machineShare === null ? figures : [...figures, Math.round(machineShare * 100)];
}

function loadOf({ m, c }: Busy, memoryLimitBytes: number | null): WorkerLoad | null {
  if (m === undefined) return null;
  const [rssKib, eventLoopDelayMs, jobType, bytes] = m;
  return {
    rssBytes: rssKib * 1024,
    memoryLimitBytes,
    eventLoopDelayMs,
    cpu: c === undefined ? null : {
      used: c[0] / 100,
      processors: c[1],
      machineShare: c[2] === undefined ? null : c[2] / 100,
    },
    largestPayload: jobType === undefined || bytes === undefined ? null : { jobType, bytes },
  };
}
