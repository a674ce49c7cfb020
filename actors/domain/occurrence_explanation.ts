/** Why one occurrence is not running yet, or why it ended as it did. */
import { cancellationOf } from "./cancellation.ts";
import { andSentence, countText, type Evidence, evidence, momentText } from "./explanation.ts";
import { byImportance, type Hindrance, hindrance, type HindranceCode } from "./hindrance.ts";
import { earlierRuns } from "./earlier_runs.ts";
import type { Attempt, Occurrence, OccurrenceStatus } from "./occurrence.ts";
import { silentHindrances } from "./silent_run.ts";
import {
  type Demand,
  isQueueEmpty,
  queueHindrances,
  serverHindrances,
  type Surroundings,
  workerHindrances,
} from "./surroundings.ts";

/** What is known of an occurrence. */
export interface OccurrenceFacts {
  readonly occurrence: Omit<Occurrence, "jobData">;
  /** The run that was in its way when it was created, or null. */
  readonly blockedBy: string | null;
  readonly attempts?: readonly Attempt[];
  /** The run that holds its job now, and how many are on or wait behind it, that one included. */
  readonly holder: Omit<Occurrence, "jobData"> | null;
  readonly holding: number;
  readonly around: Surroundings;
}

/** Codes of occurrences that do not wait. */
export type OccurrenceEnd =
  | Exclude<OccurrenceStatus, "Queued">
  /** Failed because its worker was lost with it too often. */
  | "suspect";

/** Why an occurrence stands where it does. */
export interface OccurrenceExplanation {
  /** The first cause while it waits, else its status. */
  readonly code: HindranceCode | OccurrenceEnd;
  readonly sentence: string;
  readonly evidence: readonly Evidence[];
  /** The most important first; never empty while it is Queued, always once it has ended. */
  readonly causes: readonly Hindrance[];
}

const SUSPECT = /^suspect/;

/** Explains one occurrence. */
export function explainOccurrence(facts: OccurrenceFacts): OccurrenceExplanation {
  const told = asItStands(facts);
  const before = earlierRuns(facts.attempts ?? []);
  return { ...told, sentence: told.sentence + before.told, evidence: [...told.evidence, ...before.evidence] };
}

function asItStands(facts: OccurrenceFacts): OccurrenceExplanation {
  const { occurrence } = facts;
  switch (occurrence.status) {
    case "Queued":
      return explainQueued(facts);
    case "Running":
      return explainRunning(facts);
    case "Unknown":
      return explainSilent(occurrence);
    default:
      return explainEnded(facts);
  }
}

/** What stands between a queued occurrence and its run: at least one cause, the most important first. */
export function queuedHindrances(facts: OccurrenceFacts): readonly Hindrance[] {
  const { occurrence, around } = facts;
  if (occurrence.readyAt === null) return [waitingTurn(facts)];
  const demand: Demand = { jobType: occurrence.jobType, pool: occurrence.pool };
  const found = [...serverHindrances(around), ...workerHindrances(around, demand)];
  if (occurrence.readyAt > around.now) found.push(notReady(occurrence, occurrence.readyAt));
  else {
    found.push(...queueHindrances(around, demand));
    const unpublished = unpublishedHindrance(facts, { demand, readyAt: occurrence.readyAt, found });
    if (unpublished !== null) found.push(unpublished);
  }
  if (found.every(({ code }) => code === "redis-down")) found.push(aboutToStart(facts));
  return byImportance(found);
}

function explainQueued(facts: OccurrenceFacts): OccurrenceExplanation {
  const { occurrence } = facts;
  const causes = queuedHindrances(facts);
  const [first] = causes;
  const since = `queued since ${momentText(occurrence.createdAt)}`;
  return {
    code: first?.code ?? "about-to-start",
    sentence: `Occurrence ${occurrence.id} is ${since}. ${first?.sentence ?? ""}`.trim(),
    evidence: [evidence("occurrence", occurrence.id, occurrence.scheduledFor), ...first?.evidence ?? []],
    causes,
  };
}

function waitingTurn({ occurrence, holder, holding }: OccurrenceFacts): Hindrance {
  if (holder === null || holder.id === occurrence.id) {
    return hindrance("waiting-turn", "It waits for the run before it, and is released when that has ended.", {
      since: occurrence.createdAt,
    });
  }
  const where = holder.instanceId === null ? "" : ` on ${holder.instanceId}`;
  const since = holder.startedAt ?? holder.createdAt;
  const sentence = `It waits for its turn: occurrence ${holder.id} (${holder.status}${where}) holds ` +
    `the job since ${momentText(since)}; ${
      countText(Math.max(1, holding - 1), "occurrence")
    } wait behind that.`;
  return hindrance("waiting-turn", sentence, {
    since: occurrence.createdAt,
    evidence: [
      evidence("occurrence", holder.id, holder.scheduledFor),
      ...(holder.instanceId === null ? [] : [evidence("worker", holder.instanceId)]),
    ],
  });
}

function notReady(occurrence: OccurrenceFacts["occurrence"], readyAt: number): Hindrance {
  const at = momentText(readyAt);
  if (occurrence.token === 0) {
    return hindrance("spaced-out", `It is not to start before ${at}: runs that catch up are spaced out.`, {
      until: readyAt,
    });
  }
  const { attempt, maxAttempts, reason } = occurrence;
  const sentence =
    `It backs off after ${countText(attempt, "attempt")}: the next of at most ${maxAttempts} begins ` +
    `not before ${at}.${andSentence(reason)}`;
  return hindrance("back-off", sentence, { until: readyAt });
}

/**
 * With a free lane and an empty queue it would have been taken at once. So when it is ready for a while and the queue
 * is empty, its message is not there: it was never sent, or was lost.
 */
function unpublishedHindrance(
  { around }: OccurrenceFacts,
  { demand, readyAt, found }: {
    readonly demand: Demand;
    readonly readyAt: number;
    readonly found: readonly Hindrance[];
  },
): Hindrance | null {
  const isExplained = found.some(({ code }) => code !== "redis-down");
  if (isExplained || around.now - readyAt <= around.toleranceMs || isQueueEmpty(around, demand) !== true) {
    return null;
  }
  return hindrance(
    "unpublished",
    "Its message is not in the queue: it was not sent, or was lost. Recovery sends it again within seconds.",
    { since: readyAt },
  );
}

function aboutToStart({ around }: OccurrenceFacts): Hindrance {
  return around.workers === null
    ? hindrance(
      "about-to-start",
      "Which workers are there is not known at the moment; nothing else is in its way.",
    )
    : hindrance("about-to-start", "Nothing is in its way: a worker with a free lane is about to take it.");
}

function explainRunning({ occurrence, around }: OccurrenceFacts): OccurrenceExplanation {
  const { id, instanceId, startedAt, attempt, maxAttempts, cancel } = occurrence;
  const since = startedAt === null ? "" : ` since ${momentText(startedAt)}`;
  const asked = cancel === null ? [] : [hindrance(
    "cancel-requested",
    `${cancel.by} asked for its end at ${momentText(cancel.requestedAt)}, "${cancel.reason}". ${
      cancellationOf(occurrence)?.sentence ?? ""
    }`,
    { since: cancel.requestedAt },
  )];
  const causes = byImportance([...asked, ...silentHindrances(around, occurrence)]);
  return {
    code: causes[0]?.code ?? "Running",
    sentence:
      `Occurrence ${id} is running${since}${instanceId === null ? "" : ` on ${instanceId}`}, attempt ` +
      `${attempt} of ${maxAttempts}.${causes.map(({ sentence }) => ` ${sentence}`).join("")}`,
    evidence: ownEvidence(occurrence),
    causes,
  };
}

function explainSilent(occurrence: OccurrenceFacts["occurrence"]): OccurrenceExplanation {
  const { id, instanceId, reason } = occurrence;
  const sentence =
    `Occurrence ${id} was running${instanceId === null ? "" : ` on ${instanceId}`}, which is silent: it ` +
    `runs again when its lease has ended.${andSentence(reason)}`;
  return {
    code: "worker-silent",
    sentence,
    evidence: ownEvidence(occurrence),
    causes: [hindrance("worker-silent", sentence, {
      evidence: instanceId === null ? [] : [evidence("worker", instanceId)],
    })],
  };
}

function explainEnded({ occurrence, blockedBy }: OccurrenceFacts): OccurrenceExplanation {
  const { status, reason } = occurrence;
  const isSuspect = status === "Failed" && reason !== null && SUSPECT.test(reason);
  return {
    code: isSuspect ? "suspect" : status as Exclude<OccurrenceStatus, "Queued">,
    sentence: `Occurrence ${occurrence.id} ${endText(occurrence, blockedBy)}`,
    evidence: [
      ...ownEvidence(occurrence),
      ...(blockedBy === null ? [] : [evidence("occurrence", blockedBy)]),
    ],
    causes: [],
  };
}

/** How an occurrence ended, from its verb on, with full stop. */
export function endText(occurrence: OccurrenceFacts["occurrence"], blockedBy: string | null): string {
  const { status, endedAt, attempt, instanceId, error, reason, cancel } = occurrence;
  const at = endedAt === null ? "" : ` at ${momentText(endedAt)}`;
  const after = ` after ${countText(attempt, "attempt")}${
    instanceId === null ? "" : ` (last on ${instanceId})`
  }`;
  const thrown = error === null
    ? ""
    : andSentence(error.message === "" ? error.name : `${error.name}: ${error.message}`);
  const because = andSentence(reason);
  switch (status) {
    case "Completed":
      return `completed${at}${after}.${because}`;
    case "Failed":
      return `failed${at}${after}.${because}${thrown}`;
    case "TimedOut":
      return `was timed out${at}${after}.${because}`;
    case "Cancelled": {
      if (cancel === null) return `was cancelled${at}.${because}`;
      return `was cancelled${at} by ${cancel.by}, "${cancel.reason}". ${
        cancellationOf(occurrence)?.sentence ?? ""
      }`;
    }
    case "Skipped":
      return `was skipped: ${
        blockedBy === null ? "another run" : `occurrence ${blockedBy}`
      } was in its way.${because}`;
    default:
      return `is ${status}.${because}`;
  }
}

function ownEvidence({ id, scheduledFor, instanceId }: OccurrenceFacts["occurrence"]): readonly Evidence[] {
  return [
    evidence("occurrence", id, scheduledFor),
    ...(instanceId === null ? [] : [evidence("worker", instanceId)]),
  ];
}
