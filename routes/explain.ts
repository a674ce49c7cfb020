/** Why: a due time's verdict, what stands between a job or an occurrence and its run, and what the next due times bring. */
import { z } from "zod";
import { ALERT_KINDS } from "../actors/domain/alert.ts";
import { dueTimeHindrances, explainDueTime } from "../actors/domain/explain.ts";
import { hindrance } from "../actors/domain/hindrance.ts";
import { explainJob, type JobExplanation } from "../actors/domain/job_explanation.ts";
import { explainOccurrence } from "../actors/domain/occurrence_explanation.ts";
import { leaderHindrances, serverHindrances } from "../actors/domain/surroundings.ts";
import { Unavailable } from "../actors/ports/unavailable.ts";
import type { OccurrenceSummary } from "../actors/ports/store.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { notFound } from "./errors.ts";
import {
  explanationView,
  occurrenceExplanationView,
  viewDueTime,
  viewNow,
  viewOccurrenceExplanation,
} from "./explanation_view.ts";
import { instantField } from "./fields.ts";
import { jobOf } from "./jobs.ts";
import { readSurroundings } from "./surroundings.ts";

/** How many due times the answer looks ahead. */
const NEXT_SHOWN = 5;
/** Among how many of a job's newest occurrences the queued ones and the last that ended are looked for. */
const NEWEST_READ = 50;

/** The endpoints that say why. */
export function explainEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { store, clock } = deps;

  const job = endpoint({
    method: "GET",
    path: "/api/v1/jobs/{id}/explain",
    tag: "schedules",
    summary: "Say why a job does or does not run: now, at a due time that was, or at one that comes",
    description:
      "With `at`: the verdict of that due time, or what would become of it. Without: everything that stands " +
      "between the job and its run at this moment, its next due times, and how its last run ended. When the database " +
      "cannot be reached, that is the answer (only without `at`).",
    query: z.strictObject({
      at: instantField.optional().describe("A due time, ISO 8601 with offset; now when absent"),
    }),
    answers: { 200: { description: "Verdict, causes and outlook", schema: explanationView } },
    problems: ["id_invalid", "not_found", "request_invalid"],
    async handle({ id, query: { at } }) {
      const body = at === undefined ? await now(id) : await dueTime(id, at);
      return { status: 200, body };
    },
  });

  const occurrence = endpoint({
    method: "GET",
    path: "/api/v1/occurrences/{id}/explain",
    tag: "occurrences",
    summary: "Say why an occurrence is not running yet, or why it ended as it did",
    answers: { 200: { description: "Status, causes and evidence", schema: occurrenceExplanationView } },
    problems: ["id_invalid", "not_found"],
    async handle({ id }) {
      const [detail, around] = await Promise.all([store.history.occurrence(id), readSurroundings(deps)]);
      if (detail === null) throw notFound("occurrence", id);
      const { occurrence, blockedBy, attempts } = detail;
      const { jobId, status } = occurrence;
      const facts = { occurrence, blockedBy, attempts, around, ...await holdingOf(jobId) };
      const asked = { occurrenceId: id, jobId, status, now: around.now };
      return { status: 200, body: viewOccurrenceExplanation(explainOccurrence(facts), asked) };
    },
  });

  async function dueTime(id: string, at: number): Promise<z.output<typeof explanationView>> {
    // The job first: what it has moved on past by then is in the ledger, or was forgotten.
    const job = await jobOf(deps, id);
    const [occurrence, range, around] = await Promise.all([
      store.history.occurrenceAt(id, at),
      store.history.rangeAt(id, at),
      readSurroundings(deps),
    ]);
    const [detail, holding] = occurrence === null
      ? [null, {}]
      : await Promise.all([store.history.occurrence(occurrence.id), holdingOf(id)]);
    const { blockedBy = null, attempts = [] } = detail ?? {};
    const alerts = occurrence === null && range === null ? await store.alerts.list(ALERT_KINDS.length) : [];
    const record = {
      job,
      at,
      occurrence: detail?.occurrence ?? occurrence,
      blockedBy,
      attempts,
      ...holding,
      range,
      now: around.now,
      around,
      alerts,
    };
    const explained = explainDueTime(record);
    const causes = explained.verdict === "undecided"
      ? [...leaderHindrances(around, job), ...serverHindrances(around)]
      : dueTimeHindrances(record);
    return viewDueTime(explained, { jobId: id, at, now: around.now, causes });
  }

  async function now(id: string): Promise<z.output<typeof explanationView>> {
    try {
      const [job, newest, holding, around] = await Promise.all([
        jobOf(deps, id),
        store.history.occurrences({ jobId: id }, NEWEST_READ, null),
        holdingOf(id),
        readSurroundings(deps),
      ]);
      const explained = explainJob({ job, newest: newest.items, around, ...holding }, NEXT_SHOWN);
      return viewNow(explained, { jobId: id, now: around.now });
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      return viewNow(withoutDatabase(deps.settings.instanceId), { jobId: id, now: clock.now() });
    }
  }

  async function holdingOf(
    jobId: string,
  ): Promise<{ readonly holder: OccurrenceSummary | null; readonly holding: number }> {
    const { holder, count } = await store.history.holding(jobId);
    const detail = holder === null ? null : await store.history.occurrence(holder);
    return { holder: detail?.occurrence ?? null, holding: count };
  }

  return [job, occurrence];
}

function withoutDatabase(instanceId: string): JobExplanation {
  const sentence =
    `Instance ${instanceId} cannot reach the database: nothing is decided, claimed or recorded from there until it ` +
    "is back, and nothing can be said of the job itself.";
  const cause = hindrance("database-down", sentence, {
    evidence: [
      { kind: "server", id: "PostgreSQL", at: null },
      { kind: "instance", id: instanceId, at: null },
    ],
  });
  return { code: cause.code, sentence, causes: [cause], next: [], last: null };
}
