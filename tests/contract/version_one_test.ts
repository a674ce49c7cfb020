/** Stores that the first release wrote, with history in them, are brought to the present schema and go on. */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import postgres from "postgres";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { LOG_MIGRATIONS, STORE_MIGRATIONS } from "../../infra/embedded/schema.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { MIGRATIONS } from "../../infra/postgres/schema.ts";
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { storeOptions } from "../support/postgres_world.ts";
import { KeptLog } from "../support/quiet.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";
import { replay } from "./failed_contract.ts";
import { COMPLETED, FAILED, StoreWorld } from "./store_fixture.ts";

const STORE_ID = "019aaf3e-0000-7000-8000-000000000001";
const JOB_ID = "019aaf3e-0000-7000-8000-000000000002";
const QUEUE_JOB_ID = "019aaf3e-0000-7000-8000-000000000003";
const idOf = (number: number) => `019aaf3e-0000-7000-8000-0000000001${String(number).padStart(2, "0")}`;

const COMPLETED_ID = idOf(1);
const FAILED_ID = idOf(2);
const RUNNING_ID = idOf(3);
const BACKING_OFF_ID = idOf(4);
const HOLDER_ID = idOf(5);
const WAITING_ID = idOf(6);

/** A moment of the past, and ones relative to it. */
const T = Date.UTC(2026, 10, 20, 12);

const ERROR = JSON.stringify({ name: "Error", message: "no luck", stack: null, causes: [] });

/** A definition with the fields that it had then. */
function definition(id: string, policy: string): string {
  return JSON.stringify({
    id,
    displayName: "Of version one",
    description: "",
    tags: ["old"],
    jobType: "GenerateReportJob",
    workerId: null,
    schedule: { kind: "triggerOnly" },
    isActive: true,
    concurrentExecutionPolicy: policy,
    misfirePolicy: "FireOnce",
    misfireLimit: 100,
    misfireThresholdSeconds: null,
    executionTimeoutSeconds: null,
    maxRetries: null,
    baseRetryDelaySeconds: null,
    startAt: null,
    endAt: null,
    createdAt: T,
    updatedAt: T,
  });
}

type Value = string | number | null;
interface Rows {
  readonly table: string;
  /** Columns that are times (PostgreSQL: timestamptz) or flags (boolean). */
  readonly times: readonly string[];
  readonly flags: readonly string[];
  readonly rows: readonly Readonly<Record<string, Value>>[];
}

const OCCURRENCE = {
  job: 1,
  terms: 1,
  origin: 0,
  twin: 0,
  created_at: T,
  ended_at: null as Value,
  token: 0,
  attempt: 0,
  holds_job: 0,
  lost: 0,
  ready_at: T as Value,
  next_action_at: null as Value,
  started_at: null as Value,
  lease_until: null as Value,
  duration_ms: null as Value,
  instance: null as Value,
  created_reason: null as Value,
  reason: null as Value,
  error: null as Value,
  result: null as Value,
};

const OCCURRENCES = [
  {
    ...OCCURRENCE,
    seq: 1,
    id: COMPLETED_ID,
    status: 2,
    scheduled_for: T,
    ended_at: T + 40,
    token: 1,
    attempt: 1,
    started_at: T + 5,
    duration_ms: 35,
    instance: 1,
    result: '{"sum":3}',
  },
  {
    ...OCCURRENCE,
    seq: 2,
    id: FAILED_ID,
    status: 3,
    scheduled_for: T + 1000,
    ended_at: T + 9000,
    token: 2,
    attempt: 2,
    started_at: T + 8000,
    duration_ms: 1000,
    instance: 1,
    error: ERROR,
    reason: "Attempt 2 of 2 failed (Error: no luck)",
  },
  {
    ...OCCURRENCE,
    seq: 3,
    id: RUNNING_ID,
    status: 1,
    scheduled_for: T + 2000,
    token: 1,
    attempt: 1,
    started_at: T + 2000,
    lease_until: T + 17_000,
    instance: 1,
  },
  {
    ...OCCURRENCE,
    seq: 4,
    id: BACKING_OFF_ID,
    status: 0,
    scheduled_for: T + 3000,
    token: 1,
    attempt: 1,
    ready_at: T + 5000,
    next_action_at: T + 5000,
    started_at: T + 3000,
    duration_ms: 10,
    instance: 1,
    error: ERROR,
    reason: "Attempt 1 of 3 failed",
  },
  {
    ...OCCURRENCE,
    seq: 5,
    id: HOLDER_ID,
    job: 2,
    terms: 2,
    origin: 2,
    twin: 5,
    status: 0,
    scheduled_for: T + 4000,
    holds_job: 1,
    next_action_at: T + 14_000,
  },
  {
    ...OCCURRENCE,
    seq: 6,
    id: WAITING_ID,
    job: 2,
    terms: 2,
    origin: 2,
    twin: 6,
    status: 0,
    scheduled_for: T + 4001,
    holds_job: 1,
    ready_at: null,
    reason: "Waits",
  },
];

const HISTORY: readonly Rows[] = [
  { table: "facts", times: [], flags: [], rows: [{ name: "storeId", value: STORE_ID }] },
  {
    table: "payloads",
    times: [],
    flags: [],
    rows: [{ seq: 1, data: '{"day":"ü"}' }, { seq: 2, data: "{}" }],
  },
  {
    table: "jobs",
    times: ["next_due_at", "decided_until"],
    flags: ["is_active"],
    rows: [[1, JOB_ID, "Allow"] as const, [2, QUEUE_JOB_ID, "Queue"] as const].map(([seq, id, policy]) => ({
      seq,
      id,
      version: 1,
      next_due_at: null,
      decided_until: T + 3000,
      is_active: 1,
      pause: null,
      job_type: "GenerateReportJob",
      definition: definition(id, policy),
      payload: seq,
    })),
  },
  {
    table: "terms",
    times: [],
    flags: [],
    rows: [1, 2].map((seq) => ({
      seq,
      job: seq,
      job_version: 1,
      job_type: "GenerateReportJob",
      pool: null,
      max_attempts: 2,
      base_retry_delay_seconds: 5,
      execution_timeout_seconds: null,
      payload: seq,
    })),
  },
  {
    table: "instances",
    times: [],
    flags: [],
    rows: [{ seq: 1, worker_id: "pool", instance_id: "worker-1" }],
  },
  {
    table: "occurrences",
    times: [
      "scheduled_for",
      "created_at",
      "ended_at",
      "ready_at",
      "next_action_at",
      "started_at",
      "lease_until",
    ],
    flags: ["holds_job"],
    rows: OCCURRENCES,
  },
  {
    table: "verdict_ranges",
    times: ["from_at", "to_at", "decided_at"],
    flags: [],
    rows: [{
      job: 1,
      from_at: T - 5000,
      to_at: T - 1000,
      job_version: 1,
      count: 5,
      reason: "paused",
      decided_by: "ann",
      decided_at: T,
    }],
  },
  {
    table: "epochs",
    times: ["since", "lease_until", "ended_at"],
    flags: [],
    rows: [{ epoch: 4, holder: "old", since: T, lease_until: T + 15_000, ended_at: null, refused_writes: 1 }],
  },
];

const ATTEMPT = {
  occurrence: 2,
  token: 1,
  number: 1,
  instance: 1,
  claimed_at: T + 1000,
  ended_at: T + 1500,
  duration_ms: 500,
  outcome: "failed",
  error: ERROR,
  reason: "Attempt 1 of 2 failed",
};

/** What both kinds of store promise about it. */
async function goesOn(world: StoreWorld): Promise<void> {
  const { store } = world;
  assertEquals(store.storeId, STORE_ID);
  const failed = await world.detail(FAILED_ID);
  assertEquals([failed.occurrence.status, failed.occurrence.error?.message, failed.occurrence.jobData], [
    "Failed",
    "no luck",
    '{"day":"ü"}',
  ]);
  assertEquals(failed.attempts.map((one) => [one.number, one.outcome]), [[1, "failed"], [2, "failed"]]);
  assertEquals([failed.replayOf, failed.replays], [null, []]);
  assertEquals((await world.detail(COMPLETED_ID)).occurrence.result, '{"sum":3}');
  assertEquals((await store.history.ranges(JOB_ID, 10)).map((one) => one.count), [5]);
  const { byStatus } = await store.history.counts();
  assertEquals([byStatus.Completed, byStatus.Failed, byStatus.Running, byStatus.Queued], [1, 1, 1, 3]);
  const job = await store.jobs.get(JOB_ID);
  assert(job !== null && job.tags[0] === "old" && job.retryRules === null);
  // What failed before there were dead letters has none.
  assertEquals((await store.failed.list({}, 10, null)).items, []);

  // The lost run is lost, the one that backs off comes, the one that waits follows the one that held its job.
  await world.clock.advance(T + 60_000 - world.now);
  await world.lead();
  assertEquals(world.epoch, 5);
  const [silent] = await store.ledger.silentAttempts(world.now, 10);
  assertEquals(silent?.occurrenceId, RUNNING_ID);
  const reaped = await store.ledger.reap(world.epoch, silent === undefined ? [] : [silent], world.now, 0);
  assertEquals(reaped?.released.map((one) => one.occurrenceId), [RUNNING_ID]);
  const due = await store.ledger.recoverable(world.now, 10);
  const backingOff = due.find(({ message }) => message.occurrenceId === BACKING_OFF_ID)?.message;
  const holder = due.find(({ message }) => message.occurrenceId === HOLDER_ID)?.message;
  assert(backingOff !== undefined && holder !== undefined);
  const { released } = await world.record(await world.claimed(holder), COMPLETED);
  assertEquals(released.map((one) => one.occurrenceId), [WAITING_ID]);

  // Its last attempt leaves a failed occurrence, which is replayed.
  await world.record(await world.claimed(backingOff), FAILED);
  const letter = await store.failed.get(BACKING_OFF_ID);
  assertMatch(letter?.failed.reason ?? "", /^Attempt 2 of 2 failed/);
  const again = await replay(world, BACKING_OFF_ID);
  assert(again.ok);
  for (const message of again.messages) await world.record(await world.claimed(message), COMPLETED);
  assertEquals((await store.failed.get(BACKING_OFF_ID))?.failed.resolution?.action, "Replayed");
  const answer = await world.trigger(job);
  assert(answer.ok);
}

Deno.test("an embedded store of the first schema version, with history, is brought to the present one and goes on", async () => {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-version-one-" });
  try {
    writeEmbedded(folder);
    await StoreWorld.within(async (world) => {
      await world.clock.advance(T - world.clock.now());
      const { store, attempts } = await openEmbeddedStore({ ...world, folder, log: new KeptLog() });
      return { store, attempts, close: () => store.close() };
    }, goesOn);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

function writeEmbedded(folder: string): void {
  for (
    const [name, migrations] of [["milvaion.db", STORE_MIGRATIONS], ["logs.db", LOG_MIGRATIONS]] as const
  ) {
    const file = new DatabaseSync(join(folder, name));
    file.exec(migrations[0] ?? "");
    file.exec("PRAGMA user_version = 1");
    if (name === "milvaion.db") {
      const counters = [["jobs", 2], ["jobs.active", 2], ["status.0", 3], ["status.1", 1], ["status.2", 1]];
      const counted = [...counters, ["status.3", 1]].map(([name = "", count = 0]) => ({ name, count }));
      const more: Rows[] = [
        { table: "attempts", times: [], flags: [], rows: [ATTEMPT] },
        { table: "counters", times: [], flags: [], rows: counted },
      ];
      for (const { table, rows } of [...HISTORY, ...more]) {
        for (const row of rows) {
          const names = Object.keys(row);
          file.prepare(`INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => "?").join()})`)
            .run(...Object.values(row));
        }
      }
    }
    file.close();
  }
}

serverTest(
  ["postgres"],
  "a PostgreSQL store of the first schema version, with history, is brought to the present one and goes on",
  async () => {
    await using database = await temporaryDatabase();
    await writePostgres(database.url);
    await StoreWorld.within(async (world) => {
      await world.clock.advance(T - world.clock.now());
      const { store, attempts } = await openPostgresStore(storeOptions(database.url, world));
      return { store, attempts, close: () => store.close() };
    }, goesOn);
  },
);

async function writePostgres(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await sql.unsafe(MIGRATIONS[0]?.sql ?? "");
    await sql.unsafe(
      `CREATE TABLE schema_versions (version integer PRIMARY KEY, applied_at timestamptz NOT NULL, readable_by integer);
       INSERT INTO schema_versions VALUES (1, 'epoch', 1)`,
    );
    const more: Rows[] = [
      {
        table: "attempts",
        times: ["claimed_at", "ended_at", "scheduled_for"],
        flags: [],
        rows: [{ ...ATTEMPT, scheduled_for: T + 1000 }],
      },
      {
        table: "holds",
        times: ["scheduled_for"],
        flags: ["is_waiting"],
        rows: OCCURRENCES.filter((one) => one.holds_job === 1).map((
          { job, scheduled_for, seq, id, ready_at },
        ) => ({
          job,
          scheduled_for,
          seq,
          id,
          is_waiting: ready_at === null ? 1 : 0,
        })),
      },
      {
        table: "count_changes",
        times: [],
        flags: [],
        rows: [{ jobs: 2, active_jobs: 2, status_0: 3, status_1: 1, status_2: 1, status_3: 1 }],
      },
    ];
    for (const { table, times, flags, rows } of [...HISTORY, ...more]) {
      for (const row of rows) {
        const literal = (name: string, value: Value) => {
          if (value === null) return "NULL";
          if (times.includes(name)) return `to_timestamp(${Number(value) / 1000})`;
          if (flags.includes(name)) return String(value === 1);
          return typeof value === "number" ? String(value) : `'${value.replaceAll("'", "''")}'`;
        };
        const whole: Record<string, Value> = table === "occurrences"
          ? { ...row, not_completed: row["status"] === 3 ? 3 : null }
          : row;
        // A running one is looked at when its lease ends.
        if (whole["status"] === 1) whole["next_action_at"] = whole["lease_until"] ?? null;
        const values = Object.entries(whole).map(([name, value]) => literal(name, value));
        await sql.unsafe(`INSERT INTO ${table} (${Object.keys(whole).join()}) VALUES (${values.join()})`);
      }
    }
    await sql.unsafe(
      `UPDATE leadership SET epoch = 4, is_ended = false;
       SELECT setval('occurrence_numbers', 10); SELECT setval('payloads_seq_seq', 10);
       SELECT setval('jobs_seq_seq', 10); SELECT setval('terms_seq_seq', 10); SELECT setval('instances_seq_seq', 10)`,
    );
  } finally {
    await sql.end();
  }
}
