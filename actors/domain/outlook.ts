/**
 * What would become of a due time that has not come yet, as the job stands now. What bars it is asked where the decision
 * asks (`bar.ts`); besides there are the run limit, and the one probe of a job that is disabled by failures.
 */
import { type Evidence, evidence, timeText, windowText } from "./explanation.ts";
import { isDisabledNow } from "./auto_disable.ts";
import { barAt } from "./bar.ts";
import { MAX_WAITING } from "./concurrency.ts";
import type { Hindrance } from "./hindrance.ts";
import type { AutoDisabled, Job } from "./job.ts";
import { nextRuns } from "./next_runs.ts";
import { isDue, latestDue, nextDue } from "./schedule.ts";

/** Why a coming due time would or would not run. */
export const OUTLOOKS = [
  "will-run",
  /** As the one run that shows whether an auto-disabled job is well again. */
  "will-probe",
  "outside-window",
  "disabled",
  "auto-disabled",
  "paused",
  "skipped-once",
  "run-limit-reached",
] as const;
export type OutlookCode = (typeof OUTLOOKS)[number];

/**
 * As a due time that will run, but there is nobody to run it, as things are now. It is decided all the same, so this is
 * said by those who know what stands around the job.
 */
export const WOULD_WAIT = "would-wait";

/** One coming due time, and what would become of it. */
export interface Outlook {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly code: OutlookCode | typeof WOULD_WAIT;
  readonly sentence: string;
  /** What a clock change does to it; null when nothing. */
  readonly note: string | null;
  readonly evidence: readonly Evidence[];
}

/** A limit further away than this many runs is not counted down. */
const COUNTED_RUNS = 1000;

interface Told {
  readonly because: string;
  readonly evidence: readonly Evidence[];
}

/** What becomes of the due times before the one that is asked about. */
interface Before {
  /** The run limit is reached by then. */
  readonly isOverLimit: boolean;
  /** An earlier one is the probe of a job that is disabled by failures. */
  readonly isProbeTaken: boolean;
}

/**
 * The next due times after `now`, inside the window, soonest first, each with what would happen. Those that the job has
 * moved on past are decided (its clock was set back) or will never be (its row was changed by hand). Throws ScheduleFault.
 */
export function nextOutlooks(job: Job, now: number, count: number): readonly OwnOutlook[] {
  const after = Math.max(now, (job.startAt ?? now) - 1, (job.nextDueAt ?? now) - 1);
  const runs = nextRuns(job.schedule, after, count)
    .filter(({ at }) => job.endAt === null || at < job.endAt);
  let left = runsLeft(job, after);
  let isProbeTaken = countUndecided(job, after, 1) > 0;
  return runs.map(({ at, note }) => {
    const outlook = outlookOf(job, at, { note, isOverLimit: left <= 0, isProbeTaken });
    if (outlook.code === "will-run" || outlook.code === "will-probe") left -= 1;
    isProbeTaken ||= outlook.code === "will-probe";
    return outlook;
  });
}

/** What would become of this due time of the job's schedule, which has not come yet. Throws ScheduleFault. */
export function outlookAt(job: Job, at: number, now: number): OwnOutlook {
  const before = latestDue(job.schedule, at - 1) ?? at - 1;
  const note = isDue(job.schedule, at) ? nextRuns(job.schedule, before, 1)[0]?.note ?? null : null;
  const left = runsLeft(job, now);
  const countBefore = (most: number) => countRuns(job, { after: now, before: at, most });
  const isOverLimit = left <= 0 ||
    (left <= COUNTED_RUNS && !isDisabledNow(job.autoDisabled) && countBefore(left) >= left);
  const isProbeTaken = isDisabledNow(job.autoDisabled) &&
    countUndecided(job, now, 1) + countBefore(1) > 0;
  return outlookOf(job, at, { note, isOverLimit, isProbeTaken });
}

/** The same, told with what it would meet: `lasting` are the hindrances that do not pass by themselves. */
export function asThingsAre(outlook: Outlook, lasting: readonly Hindrance[]): Outlook {
  const [first] = lasting;
  if (first === undefined || (outlook.code !== "will-run" && outlook.code !== "will-probe")) return outlook;
  const wait = outlook.code === "will-run"
    ? "It will be due and, as things are now, wait."
    : `${outlook.sentence} As things are now, it would wait.`;
  return {
    ...outlook,
    code: WOULD_WAIT,
    sentence: `${wait} ${first.sentence}`,
    evidence: [...outlook.evidence, ...first.evidence],
  };
}

/** As the job stands; what stands around it is not looked at. */
type OwnOutlook = Outlook & { readonly code: OutlookCode };

function outlookOf(job: Job, at: number, given: Before & { readonly note: string | null }): OwnOutlook {
  const code = codeAt(job, at, given);
  const { because, evidence } = told(job, code);
  const runs = code === "will-run" || code === "will-probe";
  return { at, code, sentence: runs ? because : `It will not run: ${because}.`, note: given.note, evidence };
}

/** A limit that is reached ends the schedule, whatever else there is. */
function codeAt(job: Job, at: number, { isOverLimit, isProbeTaken }: Before): OutlookCode {
  if (isOverLimit) return "run-limit-reached";
  const bar = barAt(job, at);
  if (bar !== null) return bar;
  if (!isDisabledNow(job.autoDisabled)) return "will-run";
  return isProbeTaken ? "auto-disabled" : "will-probe";
}

function told(job: Job, code: OutlookCode): Told {
  const { pause, skippedDueTime, autoDisabled } = job;
  switch (code) {
    case "will-run":
      return plain(`It will run${unlessOverlap(job)}.`);
    case "will-probe":
    case "auto-disabled":
      return autoDisabled === null
        ? plain("its failures disabled it")
        : toldOfFailures(job, code, autoDisabled);
    case "outside-window":
      return plain(`it lies outside the job's window (${windowText(job)})`);
    case "disabled":
      return plain("the job is not active");
    case "paused": {
      const until = pause === null || pause.until === null ? "" : ` until ${timeText(job, pause.until)}`;
      return plain(`paused by ${pause?.by}${until}, "${pause?.reason}"`);
    }
    case "skipped-once":
      return plain(`${skippedDueTime?.by} left it out, "${skippedDueTime?.reason}"`);
    case "run-limit-reached":
      return plain(`its limit of ${job.runLimit} runs will have been reached`);
  }
}

function plain(because: string): Told {
  return { because, evidence: [] };
}

function unlessOverlap(job: Job): string {
  switch (job.concurrentExecutionPolicy) {
    case "Skip":
      return " unless the run before it is still on (policy Skip)";
    case "Queue":
      return `, after the run before it, unless ${MAX_WAITING} wait by then (policy Queue)`;
    case "Allow":
      return "";
  }
}

function toldOfFailures(
  job: Job,
  code: "will-probe" | "auto-disabled",
  { probeAt, probeId, failures, occurrenceId, until }: AutoDisabled,
): Told {
  const found = [evidence("occurrence", occurrenceId)];
  if (code === "will-probe") {
    const from = probeAt === null ? "" : ` from ${timeText(job, probeAt)} on`;
    const because =
      `The job is disabled by ${failures} failures; the first due time${from} runs as a probe, ` +
      "and the schedule goes on when it succeeds.";
    return { because, evidence: found };
  }
  const back = until !== null
    ? `; it was enabled again at ${timeText(job, until)}, after this due time`
    : probeId !== null
    ? ` (a probe is on: occurrence ${probeId})`
    : probeAt === null
    ? " and waits for somebody to enable it"
    : ` until a probe succeeds, not before ${timeText(job, probeAt)}`;
  return {
    because: `the job is disabled by ${failures} failures${back}`,
    evidence: probeId === null ? found : [...found, evidence("occurrence", probeId)],
  };
}

/** How many more due times may run before the limit; Infinity without one. */
function runsLeft(job: Job, after: number): number {
  if (job.runLimit === null) return Infinity;
  // Of those that a disabled job has open one runs.
  const most = isDisabledNow(job.autoDisabled) ? 1 : COUNTED_RUNS;
  return Math.max(0, job.runLimit - job.runCount - countUndecided(job, after, most));
}

/** Due times that have come, would run, and are not decided yet. */
function countUndecided(job: Job, now: number, most: number): number {
  return job.nextDueAt !== null && job.nextDueAt <= now
    ? countRuns(job, { after: job.nextDueAt - 1, before: now + 1, most })
    : 0;
}

/** Due times between two moments (both excluded) that would run; counting stops at `most`. */
function countRuns(
  job: Job,
  { after, before, most }: { readonly after: number; readonly before: number; readonly most: number },
): number {
  let count = 0;
  let at = nextDue(job.schedule, after);
  // What is barred is walked over as well; a job that is barred for long is not walked for ever.
  for (
    let walked = 0;
    at !== null && at < before && count < most && walked < 10 * COUNTED_RUNS;
    walked += 1
  ) {
    if (barAt(job, at) === null) count += 1;
    at = nextDue(job.schedule, at);
  }
  return count;
}
