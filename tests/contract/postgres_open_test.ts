/** What the PostgreSQL store promises beyond the contracts of all stores: opening, migrating, partitions, roles. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import postgres from "postgres";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { isFinal, mayBecome, OCCURRENCE_STATUSES, statusNumber } from "../../actors/domain/occurrence.ts";
import { dayOf, dayText } from "../../infra/postgres/day.ts";
import { PostgresError } from "../../infra/postgres/fault.ts";
import { migratePostgres } from "../../infra/postgres/migration.ts";
import { MIGRATIONS } from "../../infra/postgres/schema.ts";
import { openPostgresAttempts, openPostgresStore } from "../../infra/postgres/store.ts";
import { grantWorker } from "../../infra/postgres/worker_role.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";
import { newJob, openStore, storeOptions } from "../support/postgres_world.ts";
import { COMPLETED, DEFAULTS, LEASE_MS, StoreWorld } from "./store_fixture.ts";

const NEWEST = MIGRATIONS.length;

const DAY_MS = 86_400_000;

async function ask(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await sql.unsafe(text);
  } finally {
    await sql.end();
  }
}

serverTest(
  ["postgres"],
  "postgres: of several instances that start at once one migrates, and all open",
  async () => {
    await using database = await temporaryDatabase();
    const opened = await Promise.all([1, 2, 3].map(() => openPostgresStore(storeOptions(database.url))));
    assertEquals(new Set(opened.map(({ store }) => store.storeId)).size, 1);
    await Promise.all(opened.map(({ store }) => store.close()));
    const versions = await ask(database.url, "SELECT version FROM schema_versions ORDER BY version");
    assertEquals(versions.map((row) => row["version"]), MIGRATIONS.map((_, index) => index + 1));
  },
);

serverTest(["postgres"], "postgres: a dry run says what would be done and does nothing", async () => {
  await using database = await temporaryDatabase();
  const { now } = systemClock;
  const options = storeOptions(database.url);
  assertMatch(
    await migratePostgres(options, { dryRun: true, now: now() }),
    new RegExp(`would be brought from .* 0 to ${NEWEST}$`),
  );
  assertEquals([...await ask(database.url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'")], []);
  assertMatch(
    await migratePostgres(options, { dryRun: false, now: now() }),
    new RegExp(`: brought from .* 0 to ${NEWEST}$`),
  );
  assertMatch(
    await migratePostgres(options, { dryRun: false, now: now() }),
    new RegExp(`${NEWEST} is the newest$`),
  );
});

serverTest(["postgres"], "postgres: what cannot be opened says why, with no password in it", async () => {
  await using database = await temporaryDatabase();
  const fault = async (url: string, changes = {}) => {
    const error = await assertRejects(() => openPostgresStore(storeOptions(url, changes)), PostgresError);
    assert(!error.message.includes("hunter2"), error.message);
    return error;
  };
  const nowhere = new URL(database.url);
  nowhere.port = "1";
  nowhere.password = "hunter2";
  const unreachable = await fault(nowhere.href);
  assertEquals(unreachable.code, "unreachable");
  assertMatch(unreachable.message, /127\.0\.0\.1:1\/.*connection refused/);
  const missing = new URL(database.url);
  missing.pathname = "/no_such_database";
  assertEquals((await fault(missing.href)).code, "refused");
  const unmigrated = await fault(database.url, { migrate: false });
  assertEquals(unmigrated.code, "schema_version");
  assertMatch(unmigrated.message, new RegExp(`version 0.*needs ${NEWEST}.*migrate`));
  await ask(
    database.url,
    `CREATE TABLE schema_versions (version integer, applied_at timestamptz, readable_by integer);
     INSERT INTO schema_versions VALUES (99, 'epoch', 98)`,
  );
  assertMatch((await fault(database.url)).message, new RegExp(`version 99.*up to ${NEWEST}`));
});

serverTest(
  ["postgres"],
  "postgres: an instance of the version before works on a schema that it can still read",
  async () => {
    await using database = await temporaryDatabase();
    await StoreWorld.within(async (world) => {
      const open = () => openPostgresStore(storeOptions(database.url, world));
      await (await open()).store.close();
      // What the next program's migration would write.
      await ask(
        database.url,
        `INSERT INTO schema_versions VALUES (${NEWEST + 1}, 'epoch', ${NEWEST})`,
      );
      const { store, attempts } = await open();
      return { store, attempts, close: () => store.close() };
    }, async (at) => {
      const job = await at.saved();
      assertEquals((await at.trigger(job)).ok, true);
    });
  },
);

serverTest(["postgres"], "postgres: each day has its partition, made before its first row", async () => {
  await using database = await temporaryDatabase();
  await StoreWorld.within(async (world) => {
    const { store, attempts } = await openPostgresStore(storeOptions(database.url, world));
    return { store, attempts, close: () => store.close() };
  }, async (at) => {
    await at.clock.advance(DAY_MS - at.now % DAY_MS - 1);
    const job = await at.saved();
    for (const days of [0, 1, 9]) {
      // The last millisecond of a day and the first one of the next.
      const due = at.now + days * DAY_MS;
      for (const when of [due, due + 1]) await at.trigger(job, { at: when, count: 2 });
    }
    const rows = await ask(
      database.url,
      "SELECT tableoid::regclass::text AS day, count(*)::integer AS count FROM occurrences GROUP BY 1 ORDER BY 1",
    );
    const name = (days: number) => `occurrences_${dayText(dayOf(at.now) + days).replaceAll("-", "")}`;
    assertEquals(rows.map((row) => [row["day"], row["count"]]), [
      [name(0), 2],
      [name(1), 4],
      [name(2), 2],
      [name(9), 2],
      [name(10), 2],
    ]);
    // What lies years away has none, and works all the same.
    const far = await at.trigger(job, { at: at.now + 20 * 365 * DAY_MS });
    assert(far.ok);
    assertEquals(await at.status(far.occurrenceIds[0] ?? ""), "Queued");
  });
});

serverTest(
  ["postgres"],
  "postgres: a day whose rows lie in the default partition goes on there",
  async () => {
    await using database = await temporaryDatabase();
    await using opened = await openStore(database.url);
    const job = newJob();
    await opened.store.jobs.insert([job]);
    const at = systemClock.now() + 100 * DAY_MS;
    await ask(
      database.url,
      `INSERT INTO occurrences (seq, id, job, terms, twin, scheduled_for, created_at, origin, status, holds_job)
     VALUES (0, '${systemRandom.uuid()}', 9, 9, 0, to_timestamp(${at} / 1000.0), 'epoch', 0, 0, false)`,
    );
    const answer = await opened.store.outcomes.trigger({
      jobId: job.id,
      at,
      items: [{ occurrenceId: systemRandom.uuid(), jobData: null }],
      force: false,
      reason: null,
      by: "alice",
      idempotency: null,
      defaultsOf: () => DEFAULTS,
    });
    assert(answer.ok);
    assertEquals(
      (await opened.store.history.occurrence(answer.occurrenceIds[0] ?? ""))?.occurrence.scheduledFor,
      at,
    );
  },
);

serverTest(["postgres"], "postgres: a claim touches no index while its page has room", async () => {
  await using database = await temporaryDatabase();
  await using opened = await openStore(database.url);
  const job = newJob();
  await opened.store.jobs.insert([job]);
  const answer = await opened.store.outcomes.trigger({
    jobId: job.id,
    at: systemClock.now(),
    items: Array.from({ length: 200 }, () => ({ occurrenceId: systemRandom.uuid(), jobData: null })),
    force: false,
    reason: null,
    by: "alice",
    idempotency: null,
    defaultsOf: () => DEFAULTS,
  });
  assert(answer.ok);
  const requests = answer.messages.map((message) => ({ message, workerId: "pool", instanceId: "one" }));
  for (let index = 0; index < requests.length; index += 20) {
    const claims = await opened.attempts.claim(requests.slice(index, index + 20), LEASE_MS);
    assert(claims.every((claim) => claim.ok));
  }
  // A backend hands in its figures when it ends.
  await opened.store.close();
  const until = systemClock.mono() + 20_000;
  let figures: Record<string, unknown> | undefined;
  do {
    [figures] = await ask(
      database.url,
      `SELECT sum(n_tup_upd)::integer AS all, sum(n_tup_hot_upd)::integer AS hot FROM pg_stat_user_tables
        WHERE relname LIKE 'occurrences%'`,
    );
  } while (figures?.["all"] !== 200 && systemClock.mono() < until);
  assertEquals(figures?.["all"], 200);
  assert(Number(figures?.["hot"]) > 100, `${figures?.["hot"]} of 200`);
});

serverTest(["postgres"], "postgres: times come back to the millisecond, in any year", async () => {
  await using database = await temporaryDatabase();
  await using opened = await openStore(database.url);
  const random = seededRandom(11, systemClock);
  const times = Array.from({ length: 2000 }, () => Math.floor(random.next() * 253_402_300_799_999));
  times.push(0, 1, 999, 1000, 253_402_300_799_999, systemClock.now());
  const jobs = times.map((nextDueAt) => newJob({ nextDueAt }));
  await opened.store.jobs.insert(jobs);
  const page = await opened.store.jobs.dueEntries(times.length + 1, null);
  assertEquals(page.items.map((entry) => entry.dueAt), times);
});

serverTest(
  ["postgres"],
  "postgres: works where statements cannot be prepared, and takes any text",
  async () => {
    await using database = await temporaryDatabase();
    await using opened = await openStore(database.url, { prepare: false });
    const job = newJob({
      jobData: '{"a":"\\\\ \\" , {} ü😀"}',
      displayName: 'a "quoted" \\ name, {with} ü😀\n',
    });
    await opened.store.jobs.insert([job]);
    assertEquals(await opened.store.jobs.get(job.id), job);
    const answer = await opened.store.outcomes.trigger({
      jobId: job.id,
      at: systemClock.now(),
      items: [{ occurrenceId: systemRandom.uuid(), jobData: null }],
      force: false,
      reason: 'because of "this", and \0 that',
      by: "alice",
      idempotency: { key: "a\0key", requestHash: "h" },
      defaultsOf: () => DEFAULTS,
    });
    assert(answer.ok);
    const [message] = answer.messages;
    assert(message !== undefined);
    assertEquals(message.jobData, job.jobData);
    const detail = await opened.store.history.occurrence(message.occurrenceId);
    assertEquals(detail?.changes[0]?.reason, 'Triggered by alice: because of "this", and \ufffd that');
  },
);

serverTest(["postgres"], "postgres: the server's clock is read with its fraction", async () => {
  await using database = await temporaryDatabase();
  await using opened = await openStore(database.url);
  const [first, second] = [await opened.databaseTime(), await opened.databaseTime()];
  assert(second > first && second - first < 60_000);
  assert(Math.abs(first - systemClock.now()) < 86_400_000);
});

serverTest(["postgres"], "postgres: a worker's role claims and renews, and sees no job", async () => {
  await using database = await temporaryDatabase();
  await using opened = await openStore(database.url);
  const role = `${database.name}_worker`;
  await ask(database.url, `CREATE ROLE ${role} LOGIN`);
  try {
    assertMatch(await grantWorker(storeOptions(database.url), role, { dryRun: true }), /GRANT USAGE/);
    await grantWorker(storeOptions(database.url), role, { dryRun: false });
    const url = new URL(database.url);
    url.username = role;
    const job = newJob();
    await opened.store.jobs.insert([job]);
    const at = systemClock.now();
    const answer = await opened.store.outcomes.trigger({
      jobId: job.id,
      at,
      items: [{ occurrenceId: systemRandom.uuid(), jobData: null }],
      force: false,
      reason: null,
      by: "alice",
      idempotency: null,
      defaultsOf: () => DEFAULTS,
    });
    assert(answer.ok);
    const [message] = answer.messages;
    assert(message !== undefined);
    const worker = await openPostgresAttempts(storeOptions(url.href));
    try {
      assertEquals(worker.storeId, opened.store.storeId);
      const claim = { message, workerId: "pool", instanceId: "one" };
      assertEquals(await worker.attempts.claim([claim], LEASE_MS), [{ ok: true, token: 1, attempt: 1 }]);
      assertEquals(await worker.attempts.claim([claim], LEASE_MS), [{ ok: false, reason: "stale-token" }]);
      assertEquals(await worker.attempts.renew([{ ...message, token: 1 }], LEASE_MS), [
        { ok: true, cancel: null },
      ]);
      assert(await worker.databaseTime() > 0);
    } finally {
      await worker.close();
    }
    for (const table of ["jobs", "payloads", "terms", "attempts", "lines", "occurrences", "idempotency"]) {
      const error = await assertRejects(() => ask(url.href, `SELECT * FROM ${table}`));
      assertMatch((error as Error).message, /permission denied/);
    }
    await assertRejects(() => ask(url.href, "UPDATE occurrences SET result = '1'"));
    await assertRejects(() => ask(url.href, "DELETE FROM occurrences"));
    // PostgreSQL itself would only warn, and grant nothing.
    const refused = () => grantWorker(storeOptions(url.href), role, { dryRun: false });
    assertMatch((await assertRejects(refused, PostgresError)).message, /only it can grant/);
    const report = { ...message, token: 1, workerId: "pool", instanceId: "one", startedAt: at, endedAt: at };
    await opened.store.outcomes.record([{ ...report, durationMs: 1, outcome: COMPLETED }], at, 0);
    assertEquals((await opened.store.history.counts()).byStatus.Completed, 1);
  } finally {
    await ask(database.url, `DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
});

serverTest(
  ["postgres"],
  "postgres: the table itself refuses every change of status that is no edge",
  async () => {
    await using database = await temporaryDatabase();
    await using _opened = await openStore(database.url);
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    try {
      let seq = 0;
      for (const from of OCCURRENCE_STATUSES) {
        for (const to of OCCURRENCE_STATUSES) {
          seq += 1;
          const id = systemRandom.uuid();
          await sql`INSERT INTO occurrences (seq, id, job, terms, twin, scheduled_for, created_at, origin, status, holds_job)
          VALUES (${seq}, ${id}, 1, 1, ${seq}, ${new Date()}, 'epoch', 2, ${statusNumber(from)}, false)`;
          const changed = await sql`UPDATE occurrences SET status = ${statusNumber(to)} WHERE id = ${id}`
            .then(() => true, () => false);
          assertEquals(changed, mayBecome(from, to) || (from === to && !isFinal(from)), `${from} → ${to}`);
        }
      }
    } finally {
      await sql.end();
    }
  },
);

serverTest(["postgres"], "postgres: a day's partition has each index once", async () => {
  await using database = await temporaryDatabase();
  await using _opened = await openStore(database.url);
  const day = `occurrences_${dayText(dayOf(systemClock.now())).replaceAll("-", "")}`;
  const indexes = await ask(
    database.url,
    `SELECT c.relname, count(*)::integer AS count, count(h.inhparent)::integer AS attached FROM pg_index i
       JOIN pg_class c ON c.oid = i.indrelid LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
      WHERE c.relname IN ('occurrences', '${day}') GROUP BY c.relname ORDER BY c.relname`,
  );
  assertEquals(indexes.map((row) => [row["count"], row["attached"]]), [[5, 0], [5, 5]]);
});
