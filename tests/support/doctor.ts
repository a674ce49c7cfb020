/** What tests of the doctor stand on: it examines real servers, and its checks are found by subject and name. */
import { assert } from "@std/assert";
import postgres from "postgres";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { type CheckResult, type DoctorOptions, runDoctor } from "../../infra/doctor/doctor.ts";
import { migratePostgres } from "../../infra/postgres/migration.ts";
import { KeptLog } from "./quiet.ts";

const NOTHING: DoctorOptions = {
  dataDir: null,
  outboxDir: null,
  api: null,
  postgres: null,
  redis: null,
  rabbitmq: null,
  workers: null,
  clock: systemClock,
  random: systemRandom,
};

/** No check takes longer, nor does reaching a server; with room for a busy machine. */
const AT_MOST_MS = 12_000;

export const postgresAt = (url: string, readUrls: readonly string[] = []) => ({
  url,
  apiConnections: 10,
  readUrls,
  maxReplicaLagSeconds: 1,
});

export const rabbitmqAt = (url: string) => ({ url, queueType: "quorum" } as const);

export async function migrate(url: string): Promise<void> {
  const log = new KeptLog();
  await migratePostgres({ url, maxConnections: 2, prepare: true, log }, {
    dryRun: false,
    now: systemClock.now(),
  });
}

/** Does something that the program itself would not. */
export async function asOwner(url: string, statement: string): Promise<void> {
  const sql = postgres(url, { max: 1 });
  await sql.unsafe(statement).finally(() => sql.end());
}

/** What the doctor says of these servers, within its time; of the machine itself nothing. */
export async function examine(options: Partial<DoctorOptions>): Promise<readonly CheckResult[]> {
  const startedAt = performance.now();
  const results = await runDoctor({ ...NOTHING, ...options });
  assert(performance.now() - startedAt < AT_MOST_MS);
  return results.filter(({ subject }) => subject !== "Machine");
}

export function checkOf(results: readonly CheckResult[], subject: string, name: string): CheckResult {
  const found = results.find((one) => one.subject === subject && one.check === name);
  assert(found !== undefined, `no check ${subject} ${name}: ${JSON.stringify(results)}`);
  return found;
}

export function statesOf(results: readonly CheckResult[], subject: string): Record<string, string> {
  return Object.fromEntries(
    results.filter((one) => one.subject === subject).map(({ check, state }) => [check, state]),
  );
}
