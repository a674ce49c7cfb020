/**
 * What the occurrences of one job version have in common, and the names of the instances that run them: interned, so
 * that a row says it with one number. Rows of both never change, so they are kept in memory once they are committed.
 */
import { DEFAULT_FAILURE_RULES, type FailureRules } from "../../actors/domain/retry.ts";
import {
  type AgreedTerms,
  agreeTerms,
  rulesOf,
  rulesText,
  type TypeDefaults,
} from "../../actors/domain/terms.ts";
import type { Row, Session } from "./database.ts";
import type { JobStanding } from "./job_rows.ts";
import { asText, numbers, storable, texts } from "./literal.ts";

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
/** Characters of job data kept in memory. */
const PAYLOADS_AT_MOST = 8_000_000;

const COLUMNS = `t.seq, t.job, j.id, t.job_version, t.job_type, t.pool, t.max_attempts,
  t.base_retry_delay_seconds, t.execution_timeout_seconds, t.payload, t.rules`;

/** The terms on which an occurrence of a job starts now. */
export interface TermsWanted {
  readonly job: JobStanding;
  readonly defaults: TypeDefaults;
}

/** What was read or written inside a transaction; it goes to the cache when that has committed. */
export interface TermsDraft {
  readonly found: ReadonlyMap<string, Terms>;
  readonly added: readonly Terms[];
}

/** Terms by `keyOf`, and the JSON text of their job data by `payloads.seq`. */
export interface RememberedTerms {
  readonly found: ReadonlyMap<string, Terms>;
  readonly payloads: ReadonlyMap<number, string>;
}

export class TermsBook {
  readonly #terms = new Map<number, Terms>();
  readonly #byKey = new Map<string, Terms>();
  readonly #instances = new Map<number, Instance>();
  readonly #payloads = new Map<number, string>();
  #payloadSize = 0;

  /** The terms of each, keyed by `keyOf`. Inside the transaction that uses them. */
  async of(session: Session, wanted: readonly TermsWanted[]): Promise<TermsDraft> {
    const found = new Map<string, Terms>();
    const missing = new Map<string, TermsWanted>();
    for (const one of wanted) {
      const key = keyOf(one);
      const known = this.#byKey.get(key);
      if (known !== undefined) found.set(key, known);
      else missing.set(key, one);
    }
    if (missing.size === 0) return { found, added: [] };
    // Sorted: two transactions that add the same rows wait for each other in one order only.
    const added = await this.#intern(
      session,
      [...missing.values()].sort((left, right) => left.job.seq - right.job.seq),
    );
    for (const terms of added) found.set(keyOfTerms(terms), terms);
    return { found, added };
  }

  /** As `of` and `payloads` give it; null when not all of it is in memory. */
  remembered(wanted: readonly TermsWanted[]): RememberedTerms | null {
    const found = new Map<string, Terms>();
    const payloads = new Map<number, string>();
    for (const one of wanted) {
      const key = keyOf(one);
      const terms = this.#byKey.get(key);
      const payload = terms && this.#payloads.get(terms.payload);
      if (terms === undefined || payload === undefined) return null;
      found.set(key, terms);
      payloads.set(terms.payload, payload);
    }
    return { found, payloads };
  }

  /** Keeps what a committed transaction read or wrote. */
  keep(draft: TermsDraft): void {
    for (const terms of draft.added) {
      this.#remember(terms);
      if (this.#byKey.size >= CACHE_LIMIT) this.#byKey.clear();
      this.#byKey.set(keyOfTerms(terms), terms);
    }
  }

  /** Committed terms by their numbers. */
  async load(session: Session, seqs: Iterable<number>): Promise<ReadonlyMap<number, Terms>> {
    const found = new Map<number, Terms>();
    const missing = new Set<number>();
    for (const seq of seqs) {
      const known = this.#terms.get(seq);
      if (known !== undefined) found.set(seq, known);
      else missing.add(seq);
    }
    if (missing.size > 0) {
      const rows = await session.rows(
        `SELECT ${COLUMNS} FROM terms t JOIN jobs j ON j.seq = t.job WHERE t.seq = ANY($1::bigint[])`,
        [numbers([...missing])],
      );
      for (const row of rows) {
        const terms = toTerms(row);
        this.#remember(terms);
        found.set(terms.seq, terms);
      }
    }
    return found;
  }

  /** JSON text of the job data of each of these terms, by `payloads.seq`. */
  async payloads(session: Session, terms: Iterable<Terms>): Promise<ReadonlyMap<number, string>> {
    const found = new Map<number, string>();
    const missing = new Set<number>();
    for (const { payload } of terms) {
      const known = this.#payloads.get(payload);
      if (known !== undefined) found.set(payload, known);
      else missing.add(payload);
    }
    if (missing.size > 0) {
      const rows = await session.rows(
        "SELECT seq, data FROM payloads WHERE seq = ANY($1::bigint[])",
        [numbers([...missing])],
      );
      for (const row of rows) {
        const seq = Number(row[0]);
        const data = String(row[1]);
        found.set(seq, data);
        this.#rememberPayload(seq, data);
      }
    }
    return found;
  }

  /** The instances with these numbers. */
  async instances(session: Session, seqs: Iterable<number>): Promise<ReadonlyMap<number, Instance>> {
    const found = new Map<number, Instance>();
    const missing = new Set<number>();
    for (const seq of seqs) {
      const known = this.#instances.get(seq);
      if (known !== undefined) found.set(seq, known);
      else missing.add(seq);
    }
    if (missing.size > 0) {
      if (this.#instances.size >= CACHE_LIMIT) this.#instances.clear();
      const rows = await session.rows(
        "SELECT seq, worker_id, instance_id FROM instances WHERE seq = ANY($1::bigint[])",
        [numbers([...missing])],
      );
      for (const row of rows) {
        const instance = { workerId: String(row[1]), instanceId: String(row[2]) };
        this.#instances.set(Number(row[0]), instance);
        found.set(Number(row[0]), instance);
      }
    }
    return found;
  }

  async #intern(session: Session, wanted: readonly TermsWanted[]): Promise<readonly Terms[]> {
    const rows = wanted.map(({ job, defaults }) => ({ ...agreeTerms(job.definition, defaults), job }));
    const parameters = [
      numbers(rows.map((row) => row.job.seq)),
      numbers(rows.map((row) => row.job.version)),
      texts(rows.map((row) => row.job.definition.jobType)),
      texts(rows.map((row) => row.job.definition.workerId)),
      numbers(rows.map((row) => row.maxAttempts)),
      numbers(rows.map((row) => row.baseRetryDelaySeconds)),
      numbers(rows.map((row) => row.executionTimeoutSeconds)),
      numbers(rows.map((row) => row.job.payload)),
      texts(rows.map((row) => rulesText(row.rules))),
    ];
    await session.rows(
      `INSERT INTO terms (job, job_version, job_type, pool, max_attempts, base_retry_delay_seconds,
         execution_timeout_seconds, payload, rules)
       SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::integer[], $6::float8[],
         $7::float8[], $8::bigint[], $9::text[]) ON CONFLICT DO NOTHING`,
      parameters,
    );
    const found = await session.rows(
      `SELECT ${COLUMNS} FROM terms t JOIN jobs j ON j.seq = t.job
         JOIN unnest($1::bigint[], $2::integer[], $3::integer[], $4::float8[], $5::float8[], $6::text[])
           AS w (job, version, attempts, delay, timeout, rules)
         ON t.job = w.job AND t.job_version = w.version AND t.max_attempts = w.attempts
           AND t.base_retry_delay_seconds = w.delay AND t.execution_timeout_seconds IS NOT DISTINCT FROM w.timeout
           AND md5(t.rules) = md5(w.rules)`,
      [0, 1, 4, 5, 6, 8].map((place) => parameters[place] ?? ""),
    );
    return found.map(toTerms);
  }

  #remember(terms: Terms): void {
    if (this.#terms.size >= CACHE_LIMIT) this.#terms.clear();
    this.#terms.set(terms.seq, terms);
  }

  #rememberPayload(seq: number, data: string): void {
    if (this.#payloadSize + data.length > PAYLOADS_AT_MOST) {
      this.#payloads.clear();
      this.#payloadSize = 0;
    }
    this.#payloads.set(seq, data);
    this.#payloadSize += data.length;
  }
}

/** The numbers of instances by their names, made when they are new. All that a worker's role needs. */
export class InstanceBook {
  readonly #seqs = new Map<string, number>();

  async seqs(session: Session, instances: readonly Instance[]): Promise<readonly number[]> {
    const missing = new Map<string, Instance>();
    for (const one of instances) {
      const key = instanceKey(one);
      if (!this.#seqs.has(key)) missing.set(key, one);
    }
    if (missing.size > 0) await this.#intern(session, [...missing.values()]);
    return instances.map((one) => this.#seqs.get(instanceKey(one)) ?? 0);
  }

  async #intern(session: Session, instances: readonly Instance[]): Promise<void> {
    const names = [
      texts(instances.map((one) => one.workerId)),
      texts(instances.map((one) => one.instanceId)),
    ];
    await session.rows(
      `INSERT INTO instances (worker_id, instance_id) SELECT * FROM unnest($1::text[], $2::text[])
       ON CONFLICT (instance_id, worker_id) DO NOTHING`,
      names,
    );
    const rows = await session.rows(
      `SELECT i.seq, u.place FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (worker_id, instance_id, place)
         JOIN instances i ON i.instance_id = u.instance_id AND i.worker_id = u.worker_id`,
      names,
    );
    if (this.#seqs.size >= CACHE_LIMIT) this.#seqs.clear();
    for (const [seq, place] of rows) {
      const instance = instances[Number(place) - 1];
      if (instance !== undefined) this.#seqs.set(instanceKey(instance), Number(seq));
    }
  }
}

function instanceKey({ workerId, instanceId }: Instance): string {
  return `${storable(workerId)}\n${storable(instanceId)}`;
}

/** What terms differ by. */
export function keyOf(wanted: TermsWanted): string {
  const { job, defaults } = wanted;
  return keyOfTerms({ ...agreeTerms(job.definition, defaults), job: job.seq, jobVersion: job.version });
}

function keyOfTerms(terms: AgreedTerms & Pick<Terms, "job" | "jobVersion">): string {
  const { job, jobVersion, maxAttempts, baseRetryDelaySeconds, executionTimeoutSeconds, rules } = terms;
  const said = rules === DEFAULT_FAILURE_RULES ? "{}" : rulesText(rules);
  return `${job} ${jobVersion} ${maxAttempts} ${baseRetryDelaySeconds} ${executionTimeoutSeconds} ${said}`;
}

function toTerms(row: Row): Terms {
  return {
    seq: Number(row[0]),
    job: Number(row[1]),
    jobId: String(row[2]),
    jobVersion: Number(row[3]),
    jobType: String(row[4]),
    pool: asText(row[5]),
    maxAttempts: Number(row[6]),
    baseRetryDelaySeconds: Number(row[7]),
    executionTimeoutSeconds: row[8] === null ? null : Number(row[8]),
    payload: Number(row[9]),
    rules: rulesOf(String(row[10])),
  };
}
