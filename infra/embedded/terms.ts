/**
 * What the occurrences of one job version have in common, and the names of the instances that run them: interned,
 * so that a row says it with one small integer.
 */
import type { FailureRules } from "../../actors/domain/retry.ts";
import { agreeTerms, rulesOf, rulesText, type TypeDefaults } from "../../actors/domain/terms.ts";
import type { Database, Statement } from "./database.ts";
import type { Participant } from "./group_commit.ts";
import type { JobStanding } from "./job_rows.ts";

export interface Terms {
  readonly seq: number;
  readonly job: number;
  readonly jobId: string;
  readonly jobVersion: number;
  readonly jobType: string;
  readonly pool: string | null;
  readonly maxAttempts: number;
  readonly baseRetryDelaySeconds: number;
  readonly executionTimeoutSeconds: number | null;
  readonly rules: FailureRules;
  /** `payloads.seq` of the job's data. */
  readonly payload: number;
}

export interface Instance {
  readonly workerId: string;
  readonly instanceId: string;
}

/** Beyond this the caches start anew: a million jobs must not stay in memory because each ran once. */
const CACHE_LIMIT = 20_000;

const COLUMNS = `t.seq, t.job, j.id, t.job_version, t.job_type, t.pool, t.max_attempts,
  t.base_retry_delay_seconds, t.execution_timeout_seconds, t.payload, t.rules`;

export class TermsBook implements Participant {
  readonly #terms = new Map<number, Terms>();
  readonly #instances = new Map<number, Instance>();
  readonly #instanceSeqs = new Map<string, number>();
  readonly #read: Statement;
  readonly #find: Statement;
  readonly #insert: Statement;
  readonly #payload: Statement;
  readonly #readInstance: Statement;
  readonly #internInstance: Statement;

  constructor(database: Database) {
    this.#read = database.prepare(
      `SELECT ${COLUMNS} FROM terms t JOIN jobs j ON j.seq = t.job WHERE t.seq = ?`,
    );
    this.#find = database.prepare(
      `SELECT seq FROM terms WHERE job = ? AND job_version = ? AND max_attempts = ?
         AND base_retry_delay_seconds = ? AND execution_timeout_seconds IS ? AND rules = ?`,
    );
    this.#insert = database.prepare(
      `INSERT INTO terms (job, job_version, job_type, pool, max_attempts, base_retry_delay_seconds,
         execution_timeout_seconds, payload, rules) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq`,
    );
    this.#payload = database.prepare("SELECT data FROM payloads WHERE seq = ?");
    this.#readInstance = database.prepare("SELECT worker_id, instance_id FROM instances WHERE seq = ?");
    this.#internInstance = database.prepare(
      `INSERT INTO instances (worker_id, instance_id) VALUES (?, ?)
         ON CONFLICT (instance_id, worker_id) DO UPDATE SET worker_id = excluded.worker_id RETURNING seq`,
    );
  }

  /** The terms on which an occurrence of this job starts now. */
  of(job: JobStanding, defaults: TypeDefaults): Terms {
    const { definition } = job;
    const agreed = agreeTerms(definition, defaults);
    const { maxAttempts, baseRetryDelaySeconds, executionTimeoutSeconds } = agreed;
    const rules = rulesText(agreed.rules);
    const key = [
      job.seq,
      job.version,
      maxAttempts,
      baseRetryDelaySeconds,
      executionTimeoutSeconds,
      rules,
    ] as const;
    const row = this.#find.row(...key) ??
      this.#insert.row(
        job.seq,
        job.version,
        definition.jobType,
        definition.workerId,
        maxAttempts,
        baseRetryDelaySeconds,
        executionTimeoutSeconds,
        job.payload,
        rules,
      );
    return this.get(Number(row?.[0]));
  }

  get(seq: number): Terms {
    const known = this.#terms.get(seq);
    if (known !== undefined) return known;
    const row = this.#read.row(seq);
    if (row === undefined) throw new Error(`Cannot read terms ${seq}: no such row`);
    const terms: Terms = {
      seq,
      job: Number(row[1]),
      jobId: String(row[2]),
      jobVersion: Number(row[3]),
      jobType: String(row[4]),
      pool: row[5] === null ? null : String(row[5]),
      maxAttempts: Number(row[6]),
      baseRetryDelaySeconds: Number(row[7]),
      executionTimeoutSeconds: row[8] === null ? null : Number(row[8]),
      payload: Number(row[9]),
      rules: rulesOf(String(row[10])),
    };
    if (this.#terms.size >= CACHE_LIMIT) this.#terms.clear();
    this.#terms.set(seq, terms);
    return terms;
  }

  /** JSON text of the job's data. */
  payload(terms: Terms): string {
    return String(this.#payload.row(terms.payload)?.[0]);
  }

  instanceSeq(workerId: string, instanceId: string): number {
    const key = `${workerId}\n${instanceId}`;
    const known = this.#instanceSeqs.get(key);
    if (known !== undefined) return known;
    const seq = Number(this.#internInstance.row(workerId, instanceId)?.[0]);
    if (this.#instanceSeqs.size >= CACHE_LIMIT) this.#instanceSeqs.clear();
    this.#instanceSeqs.set(key, seq);
    return seq;
  }

  instance(seq: number): Instance {
    const known = this.#instances.get(seq);
    if (known !== undefined) return known;
    const row = this.#readInstance.row(seq);
    const instance = { workerId: String(row?.[0]), instanceId: String(row?.[1]) };
    if (this.#instances.size >= CACHE_LIMIT) this.#instances.clear();
    this.#instances.set(seq, instance);
    return instance;
  }

  beforeCommit(): void {}

  /** Rows of a transaction that never happened may be in the caches. */
  rolledBack(): void {
    this.#terms.clear();
    this.#instances.clear();
    this.#instanceSeqs.clear();
  }
}
