/** What tests of the PostgreSQL store begin with: a database of their own and stores on it. */
import postgres from "postgres";
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import {
  openPostgresStore,
  type PostgresStore,
  type PostgresStoreOptions,
} from "../../infra/postgres/store.ts";
import { KeptLog } from "./quiet.ts";

/** A table of more is truncated, not emptied row by row. */
const LARGE_BYTES = 1024 * 1024;

/** How a store is opened unless a test says otherwise. */
export function storeOptions(url: string, changes: Partial<PostgresStoreOptions> = {}): PostgresStoreOptions {
  return {
    url,
    maxConnections: 4,
    prepare: true,
    migrate: true,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
    ...changes,
  };
}

/** A store that is closed at the end of its block. */
export async function openStore(
  url: string,
  changes: Partial<PostgresStoreOptions> = {},
): Promise<PostgresStore & AsyncDisposable> {
  const opened = await openPostgresStore(storeOptions(url, changes));
  return { ...opened, [Symbol.asyncDispose]: () => opened.store.close() };
}

/**
 * Takes all rows of a store out of its schema, as they are after the migration: a tenth of the time that it takes to
 * make the tables anew. Days that have partitions keep them.
 */
export async function emptySchema(url: string, schema: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 5 });
  try {
    await sql.unsafe(`
      SET search_path = ${schema};
      DO $$ DECLARE one regclass; BEGIN
        FOR one IN SELECT oid FROM pg_class WHERE relnamespace = '${schema}'::regnamespace AND relkind = 'r'
          AND relname <> 'schema_versions' AND pg_relation_size(oid) > 0
        LOOP
          -- What many rows leave behind would make the next promise slow.
          IF pg_relation_size(one) > ${LARGE_BYTES} THEN EXECUTE 'TRUNCATE ' || one;
          ELSE EXECUTE 'DELETE FROM ' || one;
          END IF;
        END LOOP;
        INSERT INTO leadership (epoch, is_ended) VALUES (0, true);
      END $$`);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** A new job that only triggers make runs of. */
export function newJob(changes: Partial<Job> = {}): Job {
  const now = systemClock.now();
  return {
    ...JOB_DEFAULTS,
    id: systemRandom.uuid(),
    version: 1,
    displayName: "A job",
    jobType: "SampleJob",
    jobData: "{}",
    schedule: { kind: "triggerOnly" },
    concurrentExecutionPolicy: "Allow",
    nextDueAt: null,
    createdAt: now,
    updatedAt: now,
    ...changes,
  };
}
