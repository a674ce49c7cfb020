/** Explanations as they stand in answers. */
import { z } from "zod";
import type { Explanation } from "../actors/domain/explain.ts";
import { type Evidence, EVIDENCE_KINDS } from "../actors/domain/explanation.ts";
import { type Hindrance, HINDRANCE_CODES } from "../actors/domain/hindrance.ts";
import type { JobExplanation } from "../actors/domain/job_explanation.ts";
import { OCCURRENCE_STATUSES } from "../actors/domain/occurrence.ts";
import type { OccurrenceExplanation } from "../actors/domain/occurrence_explanation.ts";
import { type Outlook, OUTLOOKS, WOULD_WAIT } from "../actors/domain/outlook.ts";
import { iso, isoOrNull, momentView } from "./fields.ts";

export const evidenceView = z.strictObject({
  kind: z.enum(EVIDENCE_KINDS),
  id: z.string().describe("Its id or name; for a due time that of its job"),
  at: momentView.nullable(),
}).meta({ id: "Evidence" });

const causeView = z.strictObject({
  code: z.enum(HINDRANCE_CODES),
  sentence: z.string(),
  since: momentView.nullable(),
  until: momentView.nullable().describe("When it ends by itself, where that is known"),
  evidence: z.array(evidenceView),
}).meta({ id: "Cause" });

const outlookView = z.strictObject({
  at: momentView,
  code: z.enum([...OUTLOOKS, WOULD_WAIT]),
  sentence: z.string(),
  note: z.string().nullable().describe("What a clock change does to it"),
  evidence: z.array(evidenceView),
}).meta({ id: "Outlook" });

/** The answer for a job: of a due time, or of now. */
export const explanationView = z.strictObject({
  jobId: z.uuid(),
  tense: z.enum(["past", "now", "future"]).describe("now when no moment was asked about"),
  at: momentView.describe("The moment asked about"),
  verdict: z.string().describe(
    "past: a status, the reason of a range, or why there is neither. future: as the code of an outlook. " +
      "now: the code of the first cause, `running`, `undecided`, or `nothing`",
  ),
  sentence: z.string(),
  evidence: z.array(evidenceView).describe("The ids behind the sentence"),
  note: z.string().nullable().describe("What a clock change does to a due time that has not come yet"),
  nearest: z.strictObject({ before: momentView.nullable(), after: momentView.nullable() }).nullable()
    .describe("When nothing is due then: the due times around it"),
  causes: z.array(causeView).describe(
    "now, or of a due time that has come and has not ended: all that stands in its way, the most important first",
  ),
  next: z.array(outlookView).describe("now: the next due times, each with what would happen"),
  last: z.strictObject({
    occurrenceId: z.uuid(),
    status: z.enum(OCCURRENCE_STATUSES),
    scheduledFor: momentView,
    endedAt: momentView.nullable(),
    sentence: z.string(),
  }).nullable().describe("now: how the last occurrence ended"),
}).meta({ id: "Explanation" });

/** The answer for an occurrence. */
export const occurrenceExplanationView = z.strictObject({
  occurrenceId: z.uuid(),
  jobId: z.uuid(),
  status: z.enum(OCCURRENCE_STATUSES),
  at: momentView.describe("When it was looked at"),
  verdict: z.string().describe("The code of the first cause while it waits, else its status, or `suspect`"),
  sentence: z.string(),
  evidence: z.array(evidenceView),
  causes: z.array(causeView).describe("All that stands in its way, the most important first"),
}).meta({ id: "OccurrenceExplanation" });

const NOTHING_OF_NOW = { causes: [], next: [], last: null };

/** A due time, come or coming. `causes`: why one that has come is not decided yet, or does not run. */
export function viewDueTime(
  { verdict, sentence, evidence, note, nearest }: Explanation,
  asked: {
    readonly jobId: string;
    readonly at: number;
    readonly now: number;
    readonly causes: readonly Hindrance[];
  },
): z.output<typeof explanationView> {
  return {
    ...NOTHING_OF_NOW,
    jobId: asked.jobId,
    tense: asked.at > asked.now ? "future" : "past",
    at: iso(asked.at),
    verdict,
    sentence,
    evidence: evidence.map(viewEvidence),
    note,
    nearest: nearest === null ? null : { before: isoOrNull(nearest.before), after: isoOrNull(nearest.after) },
    causes: asked.causes.map(viewCause),
  };
}

export function viewNow(
  { code, sentence, causes, next, last }: JobExplanation,
  asked: { readonly jobId: string; readonly now: number },
): z.output<typeof explanationView> {
  return {
    jobId: asked.jobId,
    tense: "now",
    at: iso(asked.now),
    verdict: code,
    sentence,
    evidence: (causes[0]?.evidence ?? []).map(viewEvidence),
    note: null,
    nearest: null,
    causes: causes.map(viewCause),
    next: next.map(viewOutlook),
    last: last === null ? null : {
      occurrenceId: last.occurrence.id,
      status: last.occurrence.status,
      scheduledFor: iso(last.occurrence.scheduledFor),
      endedAt: isoOrNull(last.occurrence.endedAt),
      sentence: last.sentence,
    },
  };
}

export function viewOccurrenceExplanation(
  { code, sentence, evidence, causes }: OccurrenceExplanation,
  asked: Pick<z.output<typeof occurrenceExplanationView>, "occurrenceId" | "jobId" | "status"> & {
    readonly now: number;
  },
): z.output<typeof occurrenceExplanationView> {
  return {
    occurrenceId: asked.occurrenceId,
    jobId: asked.jobId,
    status: asked.status,
    at: iso(asked.now),
    verdict: code,
    sentence,
    evidence: evidence.map(viewEvidence),
    causes: causes.map(viewCause),
  };
}

export function viewEvidence({ kind, id, at }: Evidence): z.output<typeof evidenceView> {
  return { kind, id, at: isoOrNull(at) };
}

function viewCause({ code, sentence, since, until, evidence }: Hindrance): z.output<typeof causeView> {
  return {
    code,
    sentence,
    since: isoOrNull(since),
    until: isoOrNull(until),
    evidence: evidence.map(viewEvidence),
  };
}

function viewOutlook({ at, code, sentence, note, evidence }: Outlook): z.output<typeof outlookView> {
  return { at: iso(at), code, sentence, note, evidence: evidence.map(viewEvidence) };
}
