/**
 * Why a due time of a job did or did not run: the ledger's answer, in a sentence a person understands; for one that
 * has not come yet what would become of it.
 */
import type { Alert, AlertKind } from "./alert.ts";
import { isExpected } from "./expectation.ts";
import { andSentence, type Evidence, evidence, momentText, timeText, windowText } from "./explanation.ts";
import { hasReachedLimit, type Job } from "./job.ts";
import { earlierRuns } from "./earlier_runs.ts";
import type { Attempt, Occurrence, OccurrenceStatus } from "./occurrence.ts";
import { byImportance, type Hindrance } from "./hindrance.ts";
import { queuedHindrances } from "./occurrence_explanation.ts";
import { asThingsAre, outlookAt, type OutlookCode, type WOULD_WAIT } from "./outlook.ts";
import { isDue, latestDue, nextDue } from "./schedule.ts";
import { silentHindrances } from "./silent_run.ts";
import { lastingHindrances, type Surroundings, undecidedText } from "./surroundings.ts";
import type { RangeReason, VerdictRange } from "./verdict.ts";

/** The statuses and range reasons of the ledger, and why there may be nothing in it. */
export type ExplainedVerdict =
  | OccurrenceStatus
  | RangeReason
  /** The present schedule does not have this time. */
  | "not-due"
  /** It has not come yet: what would become of it. */
  | OutlookCode
  | typeof WOULD_WAIT
  /** The job did not exist then. */
  | "before-job"
  /** It has come, and the leader has not decided it yet. */
  | "undecided"
  /** It was due by the present definition, the job has moved on past it, and the ledger has nothing of it. */
  | "forgotten"
  /** It was due and has no record: removed by retention, or of an older version of the schedule. */
  | "no-record";

/** Why a due time did or did not run. */
export interface Explanation {
  readonly verdict: ExplainedVerdict;
  readonly sentence: string;
  /** The ids behind it: of the occurrence, and of the one that was in its way. */
  readonly evidence: readonly Evidence[];
  /** What a clock change does to a due time that has not come yet; null when nothing. */
  readonly note: string | null;
  /** For `not-due`: the due times around it, epoch milliseconds. */
  readonly nearest: { readonly before: number | null; readonly after: number | null } | null;
}

/** As far back as the watchdog looks: what is younger than a day retention has not removed, unless the job says so. */
const SURELY_KEPT_MS = 86_400_000;

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** What is known of a due time. */
export interface DueTimeRecord {
  readonly job: Job;
  /** The due time asked about, epoch milliseconds. */
  readonly at: number;
  /** The scheduled occurrence of this due time, or null. */
  readonly occurrence: Omit<Occurrence, "jobData"> | null;
  /** The occurrence that was in its way when it was created, where the store knows. */
  readonly blockedBy?: string | null;
  readonly attempts?: readonly Attempt[];
  /** The run that holds the job now, and how many are on or wait behind it, that one included. */
  readonly holder?: Omit<Occurrence, "jobData"> | null;
  readonly holding?: number;
  /** The range this due time lies in, or null. */
  readonly range: VerdictRange | null;
  readonly now: number;
  /** What its run meets, or would meet when it is yet to come; absent where nobody asked. */
  readonly around?: Surroundings;
  /** Those that are open; absent where nobody asked. */
  readonly alerts?: readonly Alert[];
}

/** Explains one due time. What the ledger says comes before what the present definition says. Throws ScheduleFault. */
export function explainDueTime(record: DueTimeRecord): Explanation {
  const { job, at, occurrence, range, now } = record;
  const when = timeText(job, at);
  // A range covers its due times only: a moment between two of them is not one.
  const isDueTime = isDue(job.schedule, at);
  if (occurrence !== null) {
    return ofOccurrence(occurrence, record, when);
  }
  if (range !== null && (isDueTime || range.jobVersion !== job.version)) return ofRange(range, when);
  if (at < job.createdAt) {
    return answer("before-job", `${when} was before the job: it was made ${momentText(job.createdAt)}.`);
  }
  if (!isDueTime) return notDue(record, when);
  if (isOutsideWindow(job, at)) {
    return answer("outside-window", `${when} lies outside the job's window (${windowText(job)}).`);
  }
  if (at > now && job.nextDueAt !== null && at < job.nextDueAt) {
    return answer(
      "forgotten",
      `${when} has not come yet, but the job has moved on past it: nobody will decide it. Its next due time is ` +
        `${timeText(job, job.nextDueAt)}; saving the job again finds the right one.`,
      [evidence("due-time", job.id, job.nextDueAt)],
    );
  }
  if (at > now) {
    const { around } = record;
    const lasting = around === undefined ? [] : lastingHindrances(around, { ...job, pool: job.workerId });
    const { code, sentence, note, evidence } = asThingsAre(outlookAt(job, at, now), byImportance(lasting));
    return { ...answer(code, `${when} has not come yet. ${sentence}`, evidence), note };
  }
  if (job.nextDueAt !== null && job.nextDueAt <= at) {
    const { around } = record;
    const alert = alertOn(record, "overdue-due-times", job.nextDueAt);
    const first = around === undefined ? "" : ` ${undecidedText(around, job.nextDueAt)}`;
    return answer(
      "undecided",
      `${when} has come and is not decided yet: the leader has got as far as ` +
        `${timeText(job, job.nextDueAt)}.${first}${toldOf(alert)}`,
      alertEvidence(alert),
    );
  }
  if (hasReachedLimit(job)) {
    const runs = job.runLimit === 1 ? "run" : "runs";
    return answer(
      "run-limit-reached",
      `${when} has no record: the schedule ended when its limit of ${job.runLimit} ${runs} was reached, or ` +
        "its history was removed.",
    );
  }
  const alert = alertOn(record, "missing-due-times", at);
  if (alert !== null || isExpected(job, at, { now, toleranceMs: 0, windowMs: SURELY_KEPT_MS })) {
    const told = alert === null
      ? " No alert names it: the watchdog has not looked yet, or names others."
      : toldOf(alert);
    return answer(
      "forgotten",
      `${when} was due, and the ledger has neither a run nor a reason: nobody decided it, or its row was changed or ` +
        `removed by hand.${told} What should still run has to be triggered.`,
      [evidence("due-time", job.id, at), ...alertEvidence(alert)],
    );
  }
  return answer(
    "no-record",
    `${when} was due by the present schedule and has no record: its history was removed, or ` +
      "the schedule was another one then.",
  );
}

/** The open alert that names a due time of the job, or null. */
function alertOn({ job, alerts = [] }: DueTimeRecord, kind: AlertKind, dueAt: number): Alert | null {
  return alerts.find((alert) =>
    alert.kind === kind && alert.endedAt === null &&
    alert.evidence.some((one) => one.kind === "due-time" && one.id === job.id && one.at === dueAt)
  ) ?? null;
}

function toldOf(alert: Alert | null): string {
  return alert === null
    ? ""
    : ` The watchdog tells of it since ${momentText(alert.raisedAt)} (alert ${alert.id}).`;
}

function alertEvidence(alert: Alert | null): readonly Evidence[] {
  return alert === null ? [] : [evidence("alert", alert.id, alert.raisedAt)];
}

function answer(
  verdict: ExplainedVerdict,
  sentence: string,
  evidence: readonly Evidence[] = [],
): Explanation {
  return { verdict, sentence, evidence, note: null, nearest: null };
}

function ofOccurrence(
  occurrence: Omit<Occurrence, "jobData">,
  record: DueTimeRecord,
  when: string,
): Explanation {
  const { id, status, instanceId } = occurrence;
  const { blockedBy = null, attempts = [] } = record;
  const before = earlierRuns(attempts);
  const [first] = dueTimeHindrances(record);
  const caughtUp = occurrence.origin === "catch-up" ? ", as the run for what was missed" : "";
  // What keeps a queued one says more than the reason that was stored with it, and says that as well.
  const because = status === "Queued" && first !== undefined ? "" : andSentence(occurrence.reason);
  const sentence = `${when} ${outcomeText(occurrence, record)}${caughtUp}.${because}${
    andSentence(first?.sentence ?? null)
  }${before.told}`;
  return answer(
    status,
    sentence,
    distinctEvidence([
      evidence("occurrence", id),
      ...(blockedBy === null || status !== "Skipped" ? [] : [evidence("occurrence", blockedBy)]),
      ...(instanceId === null ? [] : [evidence("worker", instanceId)]),
      ...first?.evidence ?? [],
      ...before.evidence,
    ]),
  );
}

/** What keeps the run of a due time that has come, or makes it doubtful; nothing where nobody asked. */
export function dueTimeHindrances(record: DueTimeRecord): readonly Hindrance[] {
  const { occurrence, around, blockedBy = null, holder = null, holding = 0 } = record;
  if (occurrence === null || around === undefined) return [];
  return occurrence.status === "Queued"
    ? queuedHindrances({ occurrence, blockedBy, holder, holding, around })
    : silentHindrances(around, occurrence);
}

function distinctEvidence(found: readonly Evidence[]): readonly Evidence[] {
  return found.filter(({ kind, id }, index) =>
    found.findIndex((one) => one.kind === kind && one.id === id) === index
  );
}

function outcomeText(
  occurrence: Omit<Occurrence, "jobData">,
  { now, around, blockedBy = null }: DueTimeRecord,
): string {
  const { id, status, attempt, startedAt, endedAt, readyAt } = occurrence;
  const attempts = `${attempt} ${attempt === 1 ? "attempt" : "attempts"}`;
  const ended = endedAt === null ? "" : ` at ${momentText(endedAt)}`;
  switch (status) {
    case "Queued":
      return readyAt === null
        ? `is queued since ${momentText(occurrence.createdAt)} (occurrence ${id})${
          around === undefined ? " and waits for the run before it" : ""
        }`
        : `is queued since ${momentText(occurrence.createdAt)}${
          readyAt > now ? ` and starts at ${momentText(readyAt)}` : ""
        }, ${attempts} so far (occurrence ${id})`;
    case "Running":
      return `is running${startedAt === null ? "" : ` since ${momentText(startedAt)}`} (occurrence ${id})`;
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

function ofRange(range: VerdictRange, when: string): Explanation {
  const others = range.count === 1 ? "" : ` (one of ${range.count} due times decided alike)`;
  const said = range.note === null ? "" : `, "${range.note}"`;
  const sentences: Readonly<Record<RangeReason, string>> = {
    paused: `did not run: paused by ${range.by}${said}`,
    "skipped-once": `did not run: left out this once by ${range.by}${said}`,
    disabled: "did not run: the job was not active",
    missed:
      `did not run: nobody decided it in time, for nobody led or the leader was stuck, and ${range.by} found it too ` +
      "late to run under the misfire policy",
    "outside-window": "did not run: it lay outside the job's window",
    "auto-disabled": `did not run: the job was disabled after ${range.by}`,
  };
  return answer(range.reason, `${when} ${sentences[range.reason]}${others}.`, [
    evidence("due-time", range.jobId, range.from),
    evidence("due-time", range.jobId, range.to),
    ...(range.reason === "auto-disabled" ? range.by.match(UUID) ?? [] : []).map((id) =>
      evidence("occurrence", id)
    ),
  ]);
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
  return { verdict: "not-due", sentence, evidence: [], note: null, nearest: { before, after } };
}

function isOutsideWindow(job: Job, at: number): boolean {
  return (job.startAt !== null && at < job.startAt) || (job.endAt !== null && at >= job.endAt);
}
