/**
 * Completed attempts of jobs that allow runs side by side, ended by one statement: it compares token and status, and
 * leaves alone what holds a job, for whoever waits there is released under the job's lock, what ends a streak of
 * failures, for that is counted under it, replays, whose end resolves what they replay, and results that are kept.
 */
import type { Report } from "../../actors/domain/message.ts";
import { ORIGINS, statusNumber } from "../../actors/domain/occurrence.ts";
import type { ChangedOccurrence } from "../../actors/ports/store.ts";
import { countMoved } from "./counters.ts";
import type { Database, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { Gather } from "./gather.ts";
import { isUuid, numbers, texts, time, uuids } from "./literal.ts";
import type { Terms, TermsBook } from "./terms.ts";

const RUNNING = statusNumber("Running");
const COMPLETED = statusNumber("Completed");
const REPLAY = ORIGINS.indexOf("replay");

/** Most reports in one statement. */
const GATHERED_AT_MOST = 1000;

interface Ended {
  readonly terms: Terms;
  readonly attempt: number;
}

export class Completions {
  readonly #gather: Gather<readonly Report[], readonly (ChangedOccurrence | null)[]>;

  constructor(private readonly database: Database, private readonly terms: TermsBook) {
    this.#gather = new Gather({
      run: (calls) => this.#run(calls),
      weigh: (reports) => reports.length,
      most: GATHERED_AT_MOST,
      lanes: 2,
    });
  }

  /** What became of each report, in their order; null for those that are not ended this way. */
  async end(reports: readonly Report[]): Promise<readonly (ChangedOccurrence | null)[]> {
    const fit = reports.filter(fits);
    if (fit.length === 0) return reports.map(() => null);
    const ended = await this.#gather.add(fit);
    if (fit.length === reports.length) return ended;
    let next = 0;
    return reports.map((report) => fits(report) ? ended[next++] ?? null : null);
  }

  async #run(
    calls: readonly (readonly Report[])[],
  ): Promise<readonly (readonly (ChangedOccurrence | null)[])[]> {
    const first = new Map<string, Report>();
    for (const reports of calls) {
      for (const report of reports) {
        if (!first.has(report.occurrenceId)) first.set(report.occurrenceId, report);
      }
    }
    // In the order of their ids, as everywhere, so that no two statements wait for each other.
    const sorted = [...first.values()].sort((left, right) => left.occurrenceId < right.occurrenceId ? -1 : 1);
    const ended = await this.database.call("record completed attempts", async (session) => {
      const found = new Map<string, Ended>();
      for (const [day, some] of byDay(sorted, (report) => report.scheduledFor)) {
        await this.#endDay(session, day, some, found);
      }
      return found;
    });
    return calls.map((reports) =>
      reports.map((report) => {
        const one = first.get(report.occurrenceId) === report ? ended.get(report.occurrenceId) : undefined;
        return one === undefined ? null : changedBy(report, one);
      })
    );
  }

  async #endDay(
    session: Session,
    day: number,
    reports: readonly Report[],
    found: Map<string, Ended>,
  ): Promise<void> {
    const rows = await session.rows(
      `WITH done AS (
         UPDATE occurrences o SET status = ${COMPLETED}, ended_at = ${time("u.ended")}, next_action_at = NULL,
           lease_until = NULL, duration_ms = u.duration, result = u.result
           FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::float8[], $5::float8[], $6::text[])
             AS u (id, at, token, ended, duration, result)
          WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
            AND o.status = ${RUNNING} AND o.token = u.token AND NOT o.holds_job AND o.origin <> ${REPLAY}
            AND NOT EXISTS (SELECT 1 FROM failure_streaks f WHERE f.job = o.job)
          RETURNING o.id, o.terms, o.attempt
       ), counted AS (${countMoved("done", "Running", "Completed")})
       SELECT id, terms, attempt FROM done`,
      [
        uuids(reports.map((one) => one.occurrenceId)),
        numbers(reports.map((one) => one.scheduledFor)),
        numbers(reports.map((one) => one.token)),
        numbers(reports.map((one) => one.endedAt)),
        numbers(reports.map((one) => one.durationMs)),
        texts(reports.map((one) => one.outcome.kind === "completed" ? one.outcome.result : null)),
      ],
    );
    const terms = await this.terms.load(session, new Set(rows.map((row) => Number(row[1]))));
    for (const [id, seq, attempt] of rows) {
      const of = terms.get(Number(seq));
      if (of !== undefined) found.set(String(id), { terms: of, attempt: Number(attempt) });
    }
  }
}

function fits(report: Report): boolean {
  return report.outcome.kind === "completed" && report.outcome.resultIsKept !== true &&
    isUuid(report.occurrenceId) &&
    isStorableTime(report.scheduledFor) && isStorableTime(report.endedAt);
}

function changedBy(report: Report, { terms, attempt }: Ended): ChangedOccurrence {
  return {
    occurrenceId: report.occurrenceId,
    jobId: terms.jobId,
    jobType: terms.jobType,
    status: "Completed",
    attempt,
    scheduledFor: report.scheduledFor,
    reason: null,
  };
}
