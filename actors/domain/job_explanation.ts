/** What stands between a job and its run now, what comes next, and how its last run ended. */
import { MAX_WAITING } from "./concurrency.ts";
import { asSentence, countText, evidence, momentText, timeText, windowText } from "./explanation.ts";
import { byImportance, type Hindrance, hindrance, type HindranceCode } from "./hindrance.ts";
import type { Job } from "./job.ts";
import { isFinal, type Occurrence } from "./occurrence.ts";
import { endText, queuedHindrances } from "./occurrence_explanation.ts";
import { asThingsAre, nextOutlooks, type Outlook } from "./outlook.ts";
import { silentHindrances } from "./silent_run.ts";
import {
  lastingHindrances,
  leaderHindrances,
  queueHindrances,
  serverHindrances,
  type Surroundings,
  undecidedText,
  workerHindrances,
} from "./surroundings.ts";

type Summary = Omit<Occurrence, "jobData">;

/** What is known of a job. */
export interface JobFacts {
  readonly job: Job;
  /** The run that holds the job (policies Skip and Queue), or null. */
  readonly holder: Summary | null;
  /** How many runs are on or wait, that one included. */
  readonly holding: number;
  /** Its newest occurrences, newest due time first. */
  readonly newest: readonly Summary[];
  readonly around: Surroundings;
}

/** The present of a job, explained. */
export interface JobExplanation {
  /**
   * The most important cause; without any `running` when a run is on, `undecided` when a due time has come and is not
   * decided (by less than a leader may take), `nothing` otherwise.
   */
  readonly code: HindranceCode | "running" | "undecided" | "nothing";
  readonly sentence: string;
  readonly causes: readonly Hindrance[];
  /** The next due times, soonest first, each with what would happen. */
  readonly next: readonly Outlook[];
  /** The last occurrence that has ended, and how; null when none has. */
  readonly last: { readonly occurrence: Summary; readonly sentence: string } | null;
}

/** How many of its queued occurrences are explained one by one. */
const QUEUED_SHOWN = 3;

/** Explains the present of a job. Throws ScheduleFault. */
export function explainJob(facts: JobFacts, nextCount: number): JobExplanation {
  const { job, around, newest } = facts;
  const demand = { jobType: job.jobType, pool: job.workerId };
  const lasting = byImportance(lastingHindrances(around, { ...job, ...demand }));
  const next = nextOutlooks(job, around.now, nextCount).map((one) => asThingsAre(one, lasting));
  const causes = byImportance(distinct([
    ...definitionHindrances(job, around.now, next),
    ...leaderHindrances(around, job),
    ...serverHindrances(around),
    ...workerHindrances(around, demand),
    ...queueHindrances(around, demand),
    ...silentRuns(facts),
    ...overlapHindrances(facts),
    ...queuedRuns(facts),
  ]));
  const ended = newest.find(({ status }) => isFinal(status)) ?? null;
  return {
    ...summary(facts, causes, next),
    causes,
    next,
    last: ended === null
      ? null
      : { occurrence: ended, sentence: `Occurrence ${ended.id} ${endText(ended, null)}` },
  };
}

function summary(
  { job, newest, holder, around }: JobFacts,
  causes: readonly Hindrance[],
  next: readonly Outlook[],
): Pick<JobExplanation, "code" | "sentence"> {
  const [first] = causes;
  if (first !== undefined && first.code !== "about-to-start") {
    const others = causes.length === 1
      ? ""
      : ` ${countText(causes.length - 1, "further cause is", "further causes are")} named below.`;
    return { code: first.code, sentence: first.sentence + others };
  }
  const running = [holder, ...newest].find((one) => one?.status === "Running");
  const [soonest] = next;
  const isUndecided = job.nextDueAt !== null && job.nextDueAt <= around.now;
  // Before anything is said of what comes: that will not be decided either until this is.
  const then = isUndecided
    ? undecidedText(around, job.nextDueAt)
    : soonest === undefined
    ? ""
    : `The next due time is ${momentText(soonest.at)}. ${soonest.sentence}`;
  if (running !== null && running !== undefined) {
    return { code: "running", sentence: `It is running: occurrence ${running.id}. ${then}`.trimEnd() };
  }
  return isUndecided
    ? { code: "undecided", sentence: then }
    : { code: first?.code ?? "nothing", sentence: `Nothing stands in its way. ${then}`.trimEnd() };
}

/** What the job itself says. */
function definitionHindrances(job: Job, now: number, next: readonly Outlook[]): readonly Hindrance[] {
  return [
    ...(job.isActive
      ? []
      : [hindrance("disabled", "The job is not active: due times are recorded and do not run.")]),
    ...autoDisabledHindrances(job),
    ...pauseHindrances(job, now),
    ...scheduleHindrances(job, now, next),
    ...skipHindrances(job, now),
  ];
}

function autoDisabledHindrances({ autoDisabled }: Job): readonly Hindrance[] {
  if (autoDisabled === null || autoDisabled.until !== null) return [];
  const { since, failures, occurrenceId, reason, probeAt, probeId } = autoDisabled;
  const back = probeId !== null
    ? `A probe is on: occurrence ${probeId}.`
    : probeAt === null
    ? "It stays so until somebody enables it."
    : `From ${momentText(probeAt)} on one due time runs as a probe.`;
  return [hindrance(
    "auto-disabled",
    `The job was disabled by ${
      countText(failures, "failure")
    }, the last of them occurrence ${occurrenceId}: ${asSentence(reason)} ${back}`,
    {
      since,
      until: probeAt,
      evidence: [occurrenceId, ...(probeId === null ? [] : [probeId])].map((id) =>
        evidence("occurrence", id)
      ),
    },
  )];
}

function pauseHindrances(job: Job, now: number): readonly Hindrance[] {
  const { pause } = job;
  if (pause === null || (pause.until !== null && pause.until <= now)) return [];
  const until = pause.until === null ? "until somebody resumes it" : `until ${timeText(job, pause.until)}`;
  return [
    hindrance(
      "paused",
      `Paused by ${pause.by} since ${timeText(job, pause.since)}, ${until}: "${pause.reason}".`,
      {
        since: pause.since,
        until: pause.until,
      },
    ),
  ];
}

/** Why nothing is scheduled, or not yet. */
function scheduleHindrances(job: Job, now: number, next: readonly Outlook[]): readonly Hindrance[] {
  if (job.schedule.kind === "triggerOnly") {
    return [hindrance("trigger-only", "Nothing is scheduled: the job runs when somebody triggers it.")];
  }
  const { runLimit, runCount, startAt, endAt } = job;
  if (runLimit !== null && runCount >= runLimit) {
    const sentence = `Its limit is reached: ${runCount} of ${
      countText(runLimit, "run")
    }. No further due time runs.`;
    return [hindrance("run-limit-reached", sentence)];
  }
  if (startAt !== null && now < startAt) {
    return [
      hindrance("outside-window", `Its window has not begun (${windowText(job)}).`, { until: startAt }),
    ];
  }
  const isUndecided = job.nextDueAt !== null && job.nextDueAt <= now;
  if (next.length > 0 || isUndecided) return [];
  const why = endAt !== null && job.schedule.kind === "cron"
    ? `no due time is left in its window (${windowText(job)})`
    : "its only due time has passed";
  return [hindrance("schedule-over", `Its schedule is over: ${why}.`)];
}

function skipHindrances(job: Job, now: number): readonly Hindrance[] {
  const { skippedDueTime: skipped } = job;
  if (skipped === null || skipped.dueAt <= now) return [];
  const sentence = `${skipped.by} left out the due time ${
    timeText(job, skipped.dueAt)
  }: "${skipped.reason}".`;
  return [hindrance("skipped-once", sentence, {
    since: skipped.since,
    until: skipped.dueAt,
    evidence: [evidence("due-time", job.id, skipped.dueAt)],
  })];
}

/** Those of its runs whose worker is silent. */
function silentRuns({ holder, newest, around }: JobFacts): readonly Hindrance[] {
  return [...(holder === null ? [] : [holder]), ...newest].flatMap((run) => silentHindrances(around, run));
}

/** A run that is on while no other may run beside it. */
function overlapHindrances({ job, holder, holding }: JobFacts): readonly Hindrance[] {
  if (holder === null || job.concurrentExecutionPolicy === "Allow") return [];
  const since = holder.startedAt ?? holder.createdAt;
  const where = holder.instanceId === null || holder.status === "Queued" ? "" : ` on ${holder.instanceId}`;
  const isQueue = job.concurrentExecutionPolicy === "Queue";
  const waiting = Math.max(0, holding - 1);
  const refused = "due times that come meanwhile are skipped, and triggers are refused";
  const effect = !isQueue
    ? refused
    : waiting < MAX_WAITING
    ? `further ones wait behind it (${waiting} now)`
    : `${waiting} wait behind it, the most there may be, so ${refused}`;
  const sentence =
    `Occurrence ${holder.id} holds the job, ${holder.status}${where} since ${momentText(since)}: ` +
    `${effect} (policy ${job.concurrentExecutionPolicy}).`;
  return [hindrance("overlap", sentence, {
    since,
    evidence: [
      evidence("occurrence", holder.id, holder.scheduledFor),
      ...(where === "" || holder.instanceId === null ? [] : [evidence("worker", holder.instanceId)]),
    ],
  })];
}

/** What keeps those of its occurrences that are queued; the oldest come first. */
function queuedRuns(facts: JobFacts): readonly Hindrance[] {
  const { newest, holder, holding, around } = facts;
  const queued = [...(holder === null ? [] : [holder]), ...newest]
    .filter((one, index, all) =>
      one.status === "Queued" && all.findIndex(({ id }) => id === one.id) === index
    )
    .toSorted((left, right) => left.scheduledFor - right.scheduledFor)
    .slice(0, QUEUED_SHOWN);
  return queued.flatMap((occurrence) =>
    queuedHindrances({ occurrence, blockedBy: null, holder, holding, around }).map((one) => ({
      ...one,
      evidence: [evidence("occurrence", occurrence.id, occurrence.scheduledFor), ...one.evidence],
    }))
  );
}

/** The same cause told twice is told once, with the evidence of both. */
function distinct(hindrances: readonly Hindrance[]): readonly Hindrance[] {
  const found = new Map<string, Hindrance>();
  for (const one of hindrances) {
    const key = `${one.code}: ${one.sentence}`;
    const known = found.get(key);
    const all = [...known?.evidence ?? [], ...one.evidence];
    const each = all.filter((item, index) =>
      all.findIndex(({ kind, id, at }) => kind === item.kind && id === item.id && at === item.at) === index
    );
    found.set(key, { ...(known ?? one), evidence: each });
  }
  return [...found.values()];
}
