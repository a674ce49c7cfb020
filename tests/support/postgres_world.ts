/** What tests of the PostgreSQL store begin with: a database of their own and stores on it. */
import { type Job, JOB_DEFAULTS } from "../../actors/domain/job.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import {
  openPostgresStore,
  type PostgresStore,
  type PostgresStoreOptions,
} from "../../infra/postgres/store.ts";
import { KeptLog } from "./quiet.ts";

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
