/** Rows of `failed_occurrences` and `replays`: written inside the transactions of others, read by filter. */
import {
  type FailedOccurrence,
  FAILURE_KINDS,
  type FailureKind,
  failureKindOf,
  fingerprintOfFailure,
  LAST_LINES,
  outputText,
  type Resolution,
  resolvedByReplay,
} from "../../actors/domain/failed_occurrence.ts";
import { type ErrorReport, type OccurrenceStatus, statusOf } from "../../actors/domain/occurrence.ts";
import type {
  FailedFilter,
  FailedGroup,
  ReplayLink,
  ResolveSelection,
} from "../../actors/ports/failed_occurrences.ts";
import type { Page } from "../../actors/ports/store.ts";
import type { Bindable, Database, Row, Statement } from "./database.ts";
import type { EmbeddedLineStore } from "./line_store.ts";
import type { Standing } from "./occurrence_rows.ts";

const COLUMNS =
  `f.seq, f.id, j.id, f.job_version, f.job_type, f.kind, f.scheduled_for, f.failed_at, f.attempts,
  f.fingerprint, f.error, f.reason, f.resolution`;
const FAILED = "failed_occurrences f JOIN jobs j ON j.seq = f.job AND j.is_leaving = 0";

/** How an occurrence ended, as much as a failure depends on. */
export interface FinalEnd {
  readonly status: OccurrenceStatus;
  readonly endedAt: number;
  readonly reason: string | null;
  /** JSON text. */
  readonly error: string | null;
}

/** What a replay begins with. */
export interface ReplayedRow {
  readonly jobId: string;
  readonly jobData: string;
  readonly resolvedAt: number | null;
}

export class FailedRows {
  readonly #insert: Statement;
  readonly #byId: Statement;
  readonly #detail: Statement;
  readonly #replayed: Statement;
  readonly #resolve: Statement;
  readonly #resolveReplayed: Statement;
  readonly #unresolved: Statement;
  readonly #insertReplay: Statement;
  readonly #replayOf: Statement;
  readonly #replays: Statement;
  readonly #replayOn: Statement;

  constructor(
    private readonly database: Database,
    private readonly lines: Pick<EmbeddedLineStore, "newest">,
  ) {
    this.#insert = database.prepare(
      `INSERT INTO failed_occurrences (id, job, job_type, job_version, kind, scheduled_for, failed_at, attempts,
         fingerprint, error, reason, last_output, job_data)
       SELECT o.id, o.job, ?, ?, ?, o.scheduled_for, ?, ?, ?, ?, ?, ?, coalesce(o.job_data, p.data)
         FROM occurrences o JOIN payloads p ON p.seq = ? WHERE o.seq = ? ON CONFLICT (id) DO NOTHING`,
    );
    this.#byId = database.prepare(`SELECT ${COLUMNS} FROM ${FAILED} WHERE f.id = ?`);
    this.#detail = database.prepare("SELECT job_data, last_output FROM failed_occurrences WHERE id = ?");
    this.#replayed = database.prepare(
      `SELECT j.id, f.job_data, f.resolved_at FROM ${FAILED} WHERE f.id = ?`,
    );
    this.#resolve = database.prepare(
      "UPDATE failed_occurrences SET resolved_at = ?, resolution = ? WHERE id = ?",
    );
    this.#resolveReplayed = database.prepare(
      `UPDATE failed_occurrences SET resolved_at = ?, resolution = ? WHERE resolved_at IS NULL
         AND id = (SELECT failed_id FROM replays WHERE occurrence_id = ?)`,
    );
    this.#unresolved = database.prepare(
      "SELECT kind, count(*) FROM failed_occurrences WHERE resolved_at IS NULL GROUP BY kind",
    );
    this.#insertReplay = database.prepare(
      "INSERT INTO replays (occurrence_id, failed_id, job, scheduled_for, action_id) VALUES (?, ?, ?, ?, ?)",
    );
    this.#replayOf = database.prepare("SELECT failed_id FROM replays WHERE occurrence_id = ?");
    this.#replays = database.prepare(
      `SELECT r.occurrence_id, r.scheduled_for, r.action_id, o.status
         FROM replays r LEFT JOIN occurrences o ON o.id = r.occurrence_id
        WHERE r.failed_id = ? ORDER BY r.scheduled_for, r.occurrence_id`,
    );
    this.#replayOn = database.prepare(
      `SELECT o.id FROM replays r JOIN occurrences o ON o.id = r.occurrence_id
        WHERE r.failed_id = ? AND o.ended_at IS NULL LIMIT 1`,
    );
  }

  // ----------------------------------------------------------------------------------- with an occurrence's end

  /** The occurrence has ended for good: what failed becomes a dead letter, and a replay settles what it replayed. */
  ended(one: Standing, end: FinalEnd, now: number): void {
    const { terms } = one;
    const kind = failureKindOf(end.status, end.reason);
    if (kind !== null) {
      this.#insert.execute(
        terms.jobType,
        terms.jobVersion,
        FAILURE_KINDS.indexOf(kind),
        end.endedAt,
        one.attempt,
        fingerprintOfFailure(kind, terms.jobType, readError(end.error)),
        end.error,
        end.reason,
        kind === "suspect" ? outputText(this.lines.newest(one.id, LAST_LINES)) : null,
        terms.payload,
        one.seq,
      );
    }
    if (!one.isReplay) return;
    const resolution = resolvedByReplay(one.id, end.status, now);
    if (resolution === null) return;
    this.#resolveReplayed.execute(now, JSON.stringify(resolution), one.id);
  }

  // -------------------------------------------------------------------------------------------------- resolving

  /** How many of these nobody has resolved, counted up to `most`. */
  countOpen(selection: ResolveSelection, most: number): number {
    const { where, values } = openAmong(selection);
    const sql = `SELECT count(*) FROM (SELECT 1 FROM failed_occurrences f WHERE ${where} LIMIT ?)`;
    return Number(this.database.prepare(sql).row(...values, most)?.[0]);
  }

  /** Resolves those of them that nobody has resolved. */
  resolveOpen(selection: ResolveSelection, resolution: Resolution): void {
    const { where, values } = openAmong(selection);
    this.database.prepare(
      `UPDATE failed_occurrences SET resolved_at = ?, resolution = ?
        WHERE seq IN (SELECT f.seq FROM failed_occurrences f WHERE ${where})`,
    ).execute(resolution.at, JSON.stringify(resolution), ...values);
  }

  resolve(id: string, resolution: Resolution | null): void {
    this.#resolve.execute(
      resolution?.at ?? null,
      resolution === null ? null : JSON.stringify(resolution),
      id,
    );
  }

  // --------------------------------------------------------------------------------------------------- replays

  replayed(id: string): ReplayedRow | null {
    const row = this.#replayed.row(id);
    if (row === undefined) return null;
    return {
      jobId: String(row[0]),
      jobData: String(row[1]),
      resolvedAt: typeof row[2] === "number" ? row[2] : null,
    };
  }

  /** A replay of it that has not ended, or null. */
  replayOn(id: string): string | null {
    const row = this.#replayOn.row(id);
    return row === undefined ? null : String(row[0]);
  }

  addReplay(link: {
    readonly occurrenceId: string;
    readonly failedId: string;
    readonly job: number;
    readonly scheduledFor: number;
    readonly actionId: string | null;
  }): void {
    this.#insertReplay.execute(
      link.occurrenceId,
      link.failedId,
      link.job,
      link.scheduledFor,
      link.actionId,
    );
  }

  /** What an occurrence replays, or null. */
  replayOf(occurrenceId: string): string | null {
    const row = this.#replayOf.row(occurrenceId);
    return row === undefined ? null : String(row[0]);
  }

  /** The replays of a failed occurrence, oldest first. */
  replays(failedId: string): readonly ReplayLink[] {
    return this.#replays.rows(failedId).map(([occurrenceId, at, actionId, status]) => ({
      occurrenceId: String(occurrenceId),
      at: Number(at),
      actionId: typeof actionId === "string" ? actionId : null,
      status: typeof status === "number" ? statusOf(status) : null,
    }));
  }

  // --------------------------------------------------------------------------------------------------- reading

  get(id: string): FailedOccurrence | null {
    const row = this.#byId.row(id);
    return row === undefined ? null : toFailed(row);
  }

  /** The long parts: job data and last output, as JSON texts. */
  detail(id: string): { readonly jobData: string; readonly lastOutput: string | null } {
    const row = this.#detail.row(id);
    return { jobData: String(row?.[0]), lastOutput: typeof row?.[1] === "string" ? row[1] : null };
  }

  unresolved(): Readonly<Record<FailureKind, number>> {
    const counts = { failed: 0, "timed-out": 0, suspect: 0 };
    for (const [kind, count] of this.#unresolved.rows()) counts[kindOf(kind)] = Number(count);
    return counts;
  }

  list(filter: FailedFilter, limit: number, after: string | null): Page<FailedOccurrence> {
    const { where, values } = conditionsOf(filter);
    const [at, seq] = readKey(after);
    const rows = this.database.prepare(
      `SELECT ${COLUMNS} FROM ${FAILED} WHERE ${where} AND (f.failed_at, f.seq) < (?, ?)
        ORDER BY f.failed_at DESC, f.seq DESC LIMIT ?`,
    ).rows(...values, at, seq, limit + 1);
    const items = rows.slice(0, limit);
    const last = items.at(-1);
    return {
      items: items.map(toFailed),
      next: rows.length > limit && last !== undefined ? `${last[7]}.${last[0]}` : null,
    };
  }

  groups(filter: FailedFilter, limit: number, after: string | null): Page<FailedGroup> {
    const { where, values } = conditionsOf(filter);
    const [count, fingerprint] = readGroupKey(after);
    const rows = this.database.prepare(
      `WITH g AS (
         SELECT f.fingerprint, count(*) AS many, count(DISTINCT f.job) AS jobs, min(f.failed_at) AS first_at,
           max(f.failed_at) AS last_at, max(f.seq) AS newest FROM ${FAILED} WHERE ${where} GROUP BY f.fingerprint
         HAVING count(*) < ? OR (count(*) = ? AND f.fingerprint > ?)
          ORDER BY count(*) DESC, f.fingerprint LIMIT ?
       ) SELECT ${COLUMNS}, g.many, g.jobs, g.first_at, g.last_at
         FROM g JOIN failed_occurrences f ON f.seq = g.newest JOIN jobs j ON j.seq = f.job
        ORDER BY g.many DESC, g.fingerprint`,
    ).rows(...values, count, count, fingerprint, limit + 1);
    const items = rows.slice(0, limit).map((row): FailedGroup => ({
      fingerprint: String(row[9]),
      count: Number(row[13]),
      jobs: Number(row[14]),
      firstAt: Number(row[15]),
      lastAt: Number(row[16]),
      sample: toFailed(row),
    }));
    const last = items.at(-1);
    return {
      items,
      next: rows.length > limit && last !== undefined ? `${last.count}.${last.fingerprint}` : null,
    };
  }
}

function openAmong(selection: ResolveSelection): ReturnType<typeof conditionsOf> {
  if ("filter" in selection) return conditionsOf({ ...selection.filter, isResolved: false });
  const where = "f.id IN (SELECT value FROM json_each(?)) AND f.resolved_at IS NULL";
  return { where, values: [JSON.stringify(selection.ids)] };
}

/** A filter as SQL over `failed_occurrences f`. */
export function conditionsOf(filter: FailedFilter): {
  readonly where: string;
  readonly values: readonly Bindable[];
} {
  const parts: string[] = ["1 = 1"];
  const values: Bindable[] = [];
  const add = (sql: string, ...bound: Bindable[]) => {
    parts.push(sql);
    values.push(...bound);
  };
  if (filter.jobId !== undefined) add("f.job = (SELECT seq FROM jobs WHERE id = ?)", filter.jobId);
  if (filter.jobType !== undefined) add("f.job_type = ?", filter.jobType);
  if (filter.fingerprint !== undefined) add("f.fingerprint = ?", filter.fingerprint);
  if (filter.kinds !== undefined) {
    add(
      `f.kind IN (${filter.kinds.map(() => "?").join()})`,
      ...filter.kinds.map((kind) => FAILURE_KINDS.indexOf(kind)),
    );
  }
  if (filter.from !== undefined) add("f.failed_at >= ?", filter.from);
  if (filter.to !== undefined) add("f.failed_at < ?", filter.to);
  if (filter.isResolved !== undefined) add(`f.resolved_at IS ${filter.isResolved ? "NOT NULL" : "NULL"}`);
  return { where: parts.join(" AND "), values };
}

function toFailed(row: Row): FailedOccurrence {
  return {
    id: String(row[1]),
    jobId: String(row[2]),
    jobVersion: Number(row[3]),
    jobType: String(row[4]),
    kind: kindOf(row[5]),
    scheduledFor: Number(row[6]),
    failedAt: Number(row[7]),
    attempts: Number(row[8]),
    fingerprint: String(row[9]),
    error: readError(row[10]),
    reason: typeof row[11] === "string" ? row[11] : null,
    resolution: typeof row[12] === "string" ? JSON.parse(row[12]) as Resolution : null,
  };
}

function kindOf(number: Bindable | undefined): FailureKind {
  const kind = FAILURE_KINDS[Number(number)];
  if (kind === undefined) throw new RangeError(`No kind of failure has the number ${number}`);
  return kind;
}

function readError(value: Bindable | undefined): ErrorReport | null {
  return typeof value === "string" ? JSON.parse(value) as ErrorReport : null;
}

function readKey(key: string | null): readonly [number, number] {
  if (key === null) return [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  const [at = NaN, seq = NaN] = key.split(".").map(Number);
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(seq)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [at, seq];
}

function readGroupKey(key: string | null): readonly [number, string] {
  if (key === null) return [Number.MAX_SAFE_INTEGER, ""];
  const [count = "", fingerprint = ""] = key.split(".");
  if (!/^\d+$/.test(count) || !/^[0-9a-f]{16}$/.test(fingerprint)) {
    throw new RangeError(`No page of this list begins after ${key}`);
  }
  return [Number(count), fingerprint];
}
