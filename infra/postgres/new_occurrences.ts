/** New occurrences: whether each runs, waits or is skipped is decided by its job's policy, under its job's lock. */
import { type ActiveOccurrences, admit, policyFor } from "../../actors/domain/concurrency.ts";
import { ASKED_FOR, type Origin, ORIGINS, statusNumber } from "../../actors/domain/occurrence.ts";
import type { ChangedOccurrence } from "../../actors/ports/store.ts";
import type { Session } from "./database.ts";
import { type HeldJob, PUBLISHED_WITHIN_MS } from "./job_holds.ts";
import type { JobStanding } from "./job_rows.ts";
import { type Bindable, booleans, numbers, storable, texts, time, uuids } from "./literal.ts";
import type { Terms } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const SKIPPED = statusNumber("Skipped");
const ASKED_FOR_NUMBERS = ASKED_FOR.map((origin) => ORIGINS.indexOf(origin)).join(", ");

export interface NewOccurrence {
  readonly id: string;
  readonly job: JobStanding;
  readonly terms: Terms;
  readonly origin: Origin;
  readonly scheduledFor: number;
  readonly createdAt: number;
  /** Null takes the job's. */
  readonly jobData: string | null;
  readonly reason: string | null;
  readonly isForced: boolean;
  /** It does not start before this moment; null when it may at once. */
  readonly notBefore: number | null;
}

export interface Verdict {
  readonly kind: "run" | "wait" | "skip";
  /** The occurrence in its way, or null. */
  readonly blockedBy: string | null;
  readonly reason: string | null;
}

const RUNS: Verdict = { kind: "run", blockedBy: null, reason: null };

/** Decides occurrence after occurrence of a transaction, each knowing those before it. */
export class Admissions {
  readonly #jobs = new Map<number, { holder: string | null; count: number }>();

  /** `held`: who holds the jobs of policy Skip and Queue, read under their locks. */
  constructor(held: ReadonlyMap<number, HeldJob>) {
    for (const [job, { holder, count }] of held) this.#jobs.set(job, { holder, count });
  }

  holder(job: JobStanding): string | null {
    return this.active(job).holder;
  }

  active(job: JobStanding): ActiveOccurrences {
    return this.#jobs.get(job.seq) ?? { holder: null, count: 0 };
  }

  admit(
    job: JobStanding,
    { id, origin, isForced }: Pick<NewOccurrence, "id" | "origin" | "isForced">,
  ): Verdict {
    const policy = policyFor(job.definition.concurrentExecutionPolicy, origin);
    if (policy === "Allow") return RUNS;
    const held = this.#jobs.get(job.seq) ?? { holder: null, count: 0 };
    this.#jobs.set(job.seq, held);
    const { holder } = held;
    const admission = admit(policy, held, isForced);
    if (holder === null || admission.kind === "run") {
      held.count += 1;
      held.holder ??= id;
      return RUNS;
    }
    switch (admission.kind) {
      case "wait":
        held.count += 1;
        return {
          kind: "wait",
          blockedBy: holder,
          reason: `Waits for occurrence ${holder} (policy ${job.definition.concurrentExecutionPolicy})`,
        };
      case "skip":
        return {
          kind: "skip",
          blockedBy: holder,
          reason: `Skipped: occurrence ${holder} was queued or running (policy Skip)`,
        };
      case "full":
        return {
          kind: "skip",
          blockedBy: holder,
          reason: `Skipped: ${admission.waiting} occurrences already wait for ${holder} (policy Queue)`,
        };
    }
  }
}

export interface Planned {
  readonly one: NewOccurrence;
  readonly verdict: Verdict;
}

/** It as it stands once inserted, for live events. */
export function changedBy({ one, verdict }: Planned): ChangedOccurrence {
  return {
    occurrenceId: one.id,
    jobId: one.job.id,
    jobType: one.terms.jobType,
    status: verdict.kind === "skip" ? "Skipped" : "Queued",
    attempt: 0,
    scheduledFor: one.scheduledFor,
    reason: verdict.reason,
  };
}

/**
 * Inserts what was planned, and counts and holds for it, in one statement. A due time that was decided before is left
 * out. Gives the ids that were inserted.
 */
export async function insertOccurrences(
  session: Session,
  planned: readonly Planned[],
): Promise<ReadonlySet<string>> {
  if (planned.length === 0) return new Set();
  const rows = await session.rows(INSERT, columnsOf(planned));
  return new Set(rows.map((row) => String(row[0])));
}

/**
 * As `insertOccurrences`, but takes its share of the lock of each job, and leaves out the occurrences of those that
 * are gone, were changed, or are disabled by failures.
 */
export async function insertOccurrencesOfUnchanged(
  session: Session,
  planned: readonly Planned[],
): Promise<ReadonlySet<string>> {
  if (planned.length === 0) return new Set();
  const rows = await session.rows(INSERT_OF_UNCHANGED, columnsOf(planned));
  return new Set(rows.map((row) => String(row[0])));
}

function columnsOf(planned: readonly Planned[]): Bindable[] {
  return [
    uuids(planned.map(({ one }) => one.id)),
    numbers(planned.map(({ one }) => one.job.seq)),
    numbers(planned.map(({ one }) => one.terms.seq)),
    numbers(planned.map(({ one }) => ORIGINS.indexOf(one.origin))),
    numbers(planned.map(({ one }) => one.scheduledFor)),
    numbers(planned.map(({ one }) => one.createdAt)),
    booleans(planned.map(({ one }) => one.job.definition.concurrentExecutionPolicy !== "Allow")),
    numbers(planned.map(({ verdict }) => verdict.kind === "skip" ? SKIPPED : QUEUED)),
    booleans(planned.map(({ verdict }) => verdict.kind === "run")),
    uuids(planned.map(({ verdict }) => verdict.blockedBy)),
    texts(planned.map(({ one }) => one.reason)),
    texts(planned.map(({ verdict }) => verdict.reason)),
    texts(planned.map(({ one }) => one.jobData)),
    numbers(planned.map(({ one }) => one.notBefore)),
    numbers(planned.map(({ one }) => one.job.version)),
  ];
}

const INSERT = insertion({ ofUnchanged: false });
const INSERT_OF_UNCHANGED = insertion({ ofUnchanged: true });

function insertion({ ofUnchanged }: { readonly ofUnchanged: boolean }): string {
  const locked = ofUnchanged
    ? `locked AS MATERIALIZED (
    SELECT seq, version FROM jobs WHERE seq = ANY($2::bigint[]) AND NOT is_leaving AND auto_disabled IS NULL
     ORDER BY seq FOR KEY SHARE
  ), `
    : "";
  const join = ofUnchanged ? "JOIN locked ON locked.seq = u.job AND locked.version = u.version" : "";
  return `
  WITH ${locked}added AS (
    INSERT INTO occurrences (seq, id, job, terms, origin, twin, holds_job, status, scheduled_for, created_at, ended_at,
      not_completed, ready_at, next_action_at, blocked_by, created_reason, reason, job_data, not_before)
    SELECT n.seq, n.id, n.job, n.terms, n.origin, CASE WHEN n.origin IN (${ASKED_FOR_NUMBERS}) THEN n.seq ELSE 0 END,
      n.holds, n.status, ${time("n.due")}, ${time("n.created")},
      CASE WHEN n.status = ${SKIPPED} THEN ${
    time("n.created")
  } END, CASE WHEN n.status = ${SKIPPED} THEN n.status END,
      CASE WHEN n.ready THEN ${time("greatest(n.created, n.not_before)")} END,
      CASE WHEN n.ready THEN ${
    time(`(CASE WHEN n.not_before > n.created THEN n.not_before ELSE n.created + ${PUBLISHED_WITHIN_MS} END)`)
  } END,
      n.blocked_by, n.created_reason, n.reason, n.job_data, ${time("n.not_before")}
    FROM (
      SELECT nextval('occurrence_numbers') AS seq, u.* FROM unnest($1::uuid[], $2::bigint[], $3::bigint[],
        $4::smallint[], $5::float8[], $6::float8[], $7::boolean[], $8::smallint[], $9::boolean[], $10::uuid[],
        $11::text[], $12::text[], $13::text[], $14::float8[], $15::integer[])
        AS u (id, job, terms, origin, due, created, holds, status, ready, blocked_by, created_reason, reason, job_data,
          not_before, version) ${join}
    ) AS n
    ON CONFLICT (job, scheduled_for, twin) DO NOTHING
    RETURNING id, job, scheduled_for, seq, status, holds_job, ready_at
  ), held AS (
    INSERT INTO holds (job, scheduled_for, seq, id, is_waiting)
    SELECT job, scheduled_for, seq, id, ready_at IS NULL FROM added WHERE holds_job AND status = ${QUEUED}
  ), counted AS (
    INSERT INTO count_changes (status_${QUEUED}, status_${SKIPPED})
    SELECT count(*) FILTER (WHERE status = ${QUEUED}), count(*) FILTER (WHERE status = ${SKIPPED})
    FROM added HAVING count(*) > 0
  )
  SELECT id FROM added`;
}

/** The reason of a trigger's occurrences. */
export function triggerReason(by: string, reason: string | null): string {
  return storable(`Triggered by ${by}` + (reason === null ? "" : `: ${reason}`));
}
