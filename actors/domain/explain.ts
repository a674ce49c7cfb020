/** Why a due time of a job did or did not run: the ledger's answer, in a sentence a person understands. */
import type { Job } from "./job.ts";
import type { Occurrence, OccurrenceStatus } from "./occurrence.ts";
import { isDue, latestDue, nextDue } from "./schedule.ts";
import type { RangeReason, VerdictRange } from "./verdict.ts";
import { localTime, offsetText } from "./zone.ts";

/** The statuses and range reasons of the ledger, and why there may be nothing in it. */
export type ExplainedVerdict =
  | OccurrenceStatus
  | RangeReason
  /** The present schedule does not have this time. */
  | "not-due"
  /** It has not come yet. */
  | "future"
  /** The job did not exist then. */
  | "before-job"
  /** It has come, and the leader has not decided it yet. */
  | "undecided"
  /** It was due and has no record: removed by retention, or of an older version of the schedule. */
  | "no-record";

/** Why a due time did or did not run. */
export interface Explanation {
  readonly verdict: ExplainedVerdict;
  readonly sentence: string;
  /** The ids behind it: of the occurrence, and of the one that was in its way. */
  readonly evidence: readonly string[];
  /** For `not-due`: the due times around it, epoch milliseconds. */
  readonly nearest: { readonly before: number | null; readonly after: number | null } | null;
}

/** What is known of a due time. */
export interface DueTimeRecord {
  readonly job: Job;
  /** The due time asked about, epoch milliseconds. */
  readonly at: number;
  /** The scheduled occurrence of this due time, or null. */
  readonly occurrence: Omit<Occurrence, "jobData"> | null;
  /** The occurrence that was in its way, when it was skipped and the store knows. */
  readonly blockedBy?: string | null;
  /** The range this due time lies in, or null. */
  readonly range: VerdictRange | null;
  readonly now: number;
}

/** Explains one due time. What the ledger says comes before what the present definition says. Throws ScheduleFault. */
export function explainDueTime(record: DueTimeRecord): Explanation {
  const { job, at, occurrence, range, now } = record;
  const when = timeText(job, at);
  // A range covers its due times only: a moment between two of them is not one.
  const isDueTime = isDue(job.schedule, at);
  if (occurrence !== null) return ofOccurrence(occurrence, { when, blockedBy: record.blockedBy ?? null });
  if (range !== null && (isDueTime || range.jobVersion !== job.version)) return ofRange(range, record, when);
  if (at < job.createdAt) {
    return answer("before-job", `${when} was before the job: it was made ${timeText(job, job.createdAt)}.`);
  }
  if (!isDueTime) return notDue(record, when);
  if (isOutsideWindow(job, at)) {
    return answer("outside-window", `${when} lies outside the job's window (${windowText(job)}).`);
  }
  if (at > now) return answer("future", `${when} has not come yet. ${outlook(job, at)}`);
  if (job.nextDueAt !== null && job.nextDueAt <= at) {
    return answer(
      "undecided",
      `${when} has come and is not decided yet: the leader has got as far as ` +
        `${timeText(job, job.nextDueAt)}.`,
    );
  }
  return answer(
    "no-record",
    `${when} was due by the present schedule and has no record: its history was removed, or ` +
      "the schedule was another one then.",
  );
}

function answer(verdict: ExplainedVerdict, sentence: string, evidence: readonly string[] = []): Explanation {
  return { verdict, sentence, evidence, nearest: null };
}

function ofOccurrence(
  occurrence: Omit<Occurrence, "jobData">,
  context: { readonly when: string; readonly blockedBy: string | null },
): Explanation {
  const { id, status } = occurrence;
  const evidence = context.blockedBy === null ? [id] : [id, context.blockedBy];
  const because = occurrence.reason === null ? "" : ` ${occurrence.reason}`;
  const caughtUp = occurrence.origin === "catch-up" ? ", as the run for what was missed" : "";
  return answer(
    status,
    `${context.when} ${outcomeText(occurrence, context.blockedBy)}${caughtUp}.${because}`,
    evidence,
  );
}

function outcomeText(occurrence: Omit<Occurrence, "jobData">, blockedBy: string | null): string {
  const { id, status, attempt, startedAt, endedAt } = occurrence;
  const attempts = `${attempt} ${attempt === 1 ? "attempt" : "attempts"}`;
  const ended = endedAt === null ? "" : ` at ${new Date(endedAt).toISOString()}`;
  switch (status) {
    case "Queued":
      return occurrence.readyAt === null
        ? `waits for the run before it (occurrence ${id})`
        : `is queued since ${
          new Date(occurrence.createdAt).toISOString()
        }, ${attempts} so far (occurrence ${id})`;
    case "Running":
      return `is running${
        startedAt === null ? "" : ` since ${new Date(startedAt).toISOString()}`
      } (occurrence ${id})`;
    case "Completed":
      return `ran and completed${ended}, after ${attempts} (occurrence ${id})`;
    case "Failed":
      return `ran and failed${ended}, after ${attempts} (occurrence ${id})`;
    case "TimedOut":
      return `ran and was timed out${ended}, after ${attempts} (occurrence ${id})`;
    case "Cancelled":
      return `was cancelled${ended} (occurrence ${id})`;
    case "Unknown":
      return `was running, and its worker is silent (occurrence ${id})`;
    case "Skipped":
      return `was skipped because ${
        blockedBy === null ? "another run" : `occurrence ${blockedBy}`
      } was in its way`;
  }
}

function ofRange(range: VerdictRange, { job, at }: DueTimeRecord, when: string): Explanation {
  const others = range.count === 1 ? "" : ` (one of ${range.count} due times decided alike)`;
  const pause = job.pause !== null && job.pause.since <= at ? job.pause : null;
  const sentences: Readonly<Record<RangeReason, string>> = {
    paused: `did not run: paused by ${range.by}${pause === null ? "" : `, "${pause.reason}"`}`,
    disabled: "did not run: the job was not active",
    missed:
      `did not run: nobody led at the time, and ${range.by} found it too late to run under the misfire policy`,
    "outside-window": "did not run: it lay outside the job's window",
  };
  return answer(range.reason, `${when} ${sentences[range.reason]}${others}.`);
}

function notDue(record: DueTimeRecord, when: string): Explanation {
  const { job, at } = record;
  const before = latestDue(job.schedule, at);
  const after = nextDue(job.schedule, at);
  const nearest = [
    ...(before === null ? [] : [`the one before is ${timeText(job, before)}`]),
    ...(after === null ? [] : [`the one after is ${timeText(job, after)}`]),
  ];
  const around = nearest.length === 0 ? "it has none" : nearest.join(", ");
  const sentence = `${when} is not a due time of the present schedule: ${around}.`;
  return { verdict: "not-due", sentence, evidence: [], nearest: { before, after } };
}

function outlook(job: Job, at: number): string {
  if (!job.isActive) return "It will not run while the job is not active.";
  const { pause } = job;
  const isPaused = pause !== null && pause.since <= at && (pause.until === null || at < pause.until);
  return isPaused ? `It will not run: paused by ${pause.by}, "${pause.reason}".` : "It will run.";
}

function isOutsideWindow(job: Job, at: number): boolean {
  return (job.startAt !== null && at < job.startAt) || (job.endAt !== null && at >= job.endAt);
}

function windowText(job: Job): string {
  const from = job.startAt === null ? "" : `from ${timeText(job, job.startAt)}`;
  const to = job.endAt === null ? "" : `until ${timeText(job, job.endAt)}`;
  return [from, to].filter((text) => text !== "").join(" ");
}

/** `2026-03-29T03:00:00+02:00 (Europe/Berlin)`; UTC for a job without a zone. */
function timeText({ schedule }: Job, at: number): string {
  return schedule.kind === "cron"
    ? `${localTime(schedule.timeZone, at)}${offsetText(schedule.timeZone, at)} (${schedule.timeZone})`
    : new Date(at).toISOString();
}
