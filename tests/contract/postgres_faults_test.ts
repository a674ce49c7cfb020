/** The PostgreSQL store when connections break, and when several instances work on one job. */
import { assert, assertEquals } from "@std/assert";
import postgres from "postgres";
import type { Job } from "../../actors/domain/job.ts";
import type { JobMessage, Report } from "../../actors/domain/message.ts";
import type { Decision } from "../../actors/domain/plan.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import type { PostgresStore } from "../../infra/postgres/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { newJob, openStore } from "../support/postgres_world.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { SERVERS, serverTest, temporaryDatabase } from "../support/servers.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { COMPLETED, DEFAULTS, FAILED, LEASE_MS } from "./store_fixture.ts";

function request(job: Job, count = 1, force = false) {
  return {
    jobId: job.id,
    at: systemClock.now(),
    items: Array.from({ length: count }, () => ({ occurrenceId: systemRandom.uuid(), jobData: null })),
    force,
    reason: null,
    by: "alice",
    idempotency: null,
    defaultsOf: () => DEFAULTS,
  };
}

function reportOf(message: JobMessage, token: number, outcome: Report["outcome"] = COMPLETED): Report {
  const { occurrenceId, scheduledFor, jobId } = message;
  const at = systemClock.now();
  const by = { workerId: "pool", instanceId: "one" };
  return {
    occurrenceId,
    scheduledFor,
    jobId,
    token,
    ...by,
    startedAt: at,
    endedAt: at,
    durationMs: 0,
    outcome,
  };
}

/** Claims and completes one, and all that are released by it. */
async function runOut({ store, attempts }: PostgresStore, first: readonly JobMessage[]): Promise<number> {
  const waiting = [...first];
  let done = 0;
  for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
    const [claim] = await attempts.claim([{ message, workerId: "pool", instanceId: "one" }], LEASE_MS);
    if (claim?.ok !== true) continue;
    const { released } = await store.outcomes.record([reportOf(message, claim.token)], systemClock.now(), 0);
    waiting.push(...released);
    done += 1;
  }
  return done;
}

serverTest(
  ["postgres"],
  "postgres: a connection that died without a word is replaced, and the call succeeds",
  async () => {
    await using database = await temporaryDatabase();
    await using proxy = TcpProxy.start(Number(new URL(SERVERS.postgres).port || 5432));
    const log = new KeptLog();
    await using opened = await openStore(proxy.through(database.url), { maxConnections: 2, tryMs: 800, log });
    await opened.store.jobs.insert([newJob()]);
    proxy.halfOpen();
    // More calls than connections: dead ones must not use up the pool.
    const jobs = Array.from({ length: 6 }, () => newJob());
    await Promise.all(jobs.map((job) => opened.store.jobs.insert([job])));
    assertEquals((await opened.store.history.counts()).jobs, 7);
    assert(log.complaints.some((line) => line.includes("connecting anew")));
  },
);

serverTest(
  ["postgres"],
  "postgres: connections ended under load lose nothing and double nothing",
  async () => {
    await using database = await temporaryDatabase();
    await using opened = await openStore(database.url);
    const allow = newJob();
    const queue = newJob({ concurrentExecutionPolicy: "Queue" });
    await opened.store.jobs.insert([allow, queue]);
    const admin = postgres(database.url, { max: 1, onnotice: () => {} });
    let isOver = false;
    let kills = 0;
    let triggered = 0;
    let granted = 0;
    let somebodyGotThrough = Promise.withResolvers<void>();
    const load = async (job: Job, count: number) => {
      for (let round = 0; round < 25; round += 1) {
        const answer = await opened.store.outcomes.trigger(request(job, count));
        if (!answer.ok) throw new Error("the trigger was refused");
        triggered += count;
        somebodyGotThrough.resolve();
        const done = await runOut(opened, answer.messages);
        granted += done;
      }
    };
    const kill = async () => {
      while (!isOver) {
        await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()`;
        kills += 1;
        somebodyGotThrough = Promise.withResolvers();
        await somebodyGotThrough.promise;
      }
    };
    try {
      const killing = kill();
      await Promise.all([load(allow, 5), load(allow, 5), load(queue, 1)]);
      isOver = true;
      somebodyGotThrough.resolve();
      await killing;
      assert(kills > 10, `connections were ended ${kills} times`);
      // A released successor whose message was lost with its connection is offered by recovery.
      let rest = await opened.store.ledger.recoverable(systemClock.now() + 60_000, 1000);
      while (rest.length > 0) {
        granted += await runOut(opened, rest.map((one) => one.message));
        rest = await opened.store.ledger.recoverable(systemClock.now() + 60_000, 1000);
      }
      const { byStatus } = await opened.store.history.counts();
      assertEquals(byStatus.Completed, triggered);
      assertEquals(byStatus.Queued + byStatus.Running, 0);
      assertEquals(granted, triggered);
      const [rows] = await admin`SELECT count(*)::integer AS count, max(token) AS token FROM occurrences`;
      assertEquals([rows?.["count"], rows?.["token"]], [triggered, 1]);
      assertEquals([...await admin`SELECT * FROM holds`], []);
    } finally {
      isOver = true;
      await admin.end();
    }
  },
);

serverTest(
  ["initdb"],
  "postgres: calls made while the server restarts succeed, and nothing is doubled",
  async () => {
    await using server = await PostgresServer.start();
    await using opened = await openStore(await server.createDatabase("restarted"));
    const job = newJob();
    await opened.store.jobs.insert([job]);
    let isOver = false;
    let triggered = 0;
    let completed = 0;
    const load = async () => {
      while (!isOver) {
        const answer = await opened.store.outcomes.trigger(request(job, 3));
        assert(answer.ok);
        triggered += 3;
        const done = await runOut(opened, answer.messages);
        completed += done;
      }
    };
    const loads = [load(), load(), load()];
    for (let round = 0; round < 3; round += 1) {
      await server.stop(round === 1 ? "immediate" : "fast");
      await server.start();
      await opened.store.check(10_000);
    }
    isOver = true;
    await Promise.all(loads);
    assert(triggered > 0);
    assertEquals(completed, triggered);
    assertEquals((await opened.store.history.counts()).byStatus.Completed, triggered);
  },
);

serverTest(["postgres"], "postgres: two instances never let two runs hold one job", async () => {
  await using database = await temporaryDatabase();
  await using one = await openStore(database.url);
  await using two = await openStore(database.url, { migrate: false });
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  try {
    const due = systemClock.now();
    const jobs = (["Skip", "Queue"] as const).map((concurrentExecutionPolicy) =>
      newJob({ concurrentExecutionPolicy, nextDueAt: due })
    );
    await one.store.jobs.insert(jobs);
    const { epoch } = await one.store.ledger.raiseEpoch("one", due, due + LEASE_MS);
    for (let round = 0; round < 30; round += 1) {
      const decisions = jobs.map((job): Decision => ({
        jobId: job.id,
        jobVersion: 1,
        expectedDueAt: due + round,
        nextDueAt: due + round + 1,
        slots: [{ occurrenceId: systemRandom.uuid(), dueAt: due + round, origin: "schedule" }],
        ranges: [],
        defaults: DEFAULTS,
      }));
      const answers = await Promise.all([
        ...[one, two].map(({ store }) => store.ledger.decide(epoch, decisions, systemClock.now())),
        ...jobs.flatMap((job) => [one, two].map(({ store }) => store.outcomes.trigger(request(job)))),
      ]);
      const decided = answers.slice(0, 2).flatMap((answer) =>
        answer.ok && "conflicts" in answer ? answer.conflicts : []
      );
      assertEquals(decided.toSorted(), jobs.map((job) => job.id).toSorted(), "each due time is decided once");
      const holders = await sql`
        SELECT j.id, count(*)::integer AS count FROM occurrences o JOIN jobs j ON j.seq = o.job
         WHERE o.ended_at IS NULL AND o.ready_at IS NOT NULL GROUP BY j.id`;
      assertEquals(holders.map((row) => row["count"]), [1, 1]);
      const messages = answers.flatMap((answer) => answer.ok && "messages" in answer ? answer.messages : []);
      // The queue runs empty only in the odd rounds: both a free and a busy job are decided.
      if (round % 2 === 0) await Promise.all([runOut(one, messages), runOut(two, messages)]);
      else await runOut(one, messages);
      const left = await one.store.ledger.recoverable(systemClock.now() + 60_000, 100);
      await runOut(two, left.map((row) => row.message));
    }
    assertEquals([...await sql`SELECT * FROM holds`], []);
  } finally {
    await sql.end();
  }
});

serverTest(
  ["postgres"],
  "postgres: any calls on one job at once come to an end, and leave it free",
  async () => {
    await using database = await temporaryDatabase();
    await using one = await openStore(database.url);
    await using two = await openStore(database.url, { migrate: false });
    const random = seededRandom(42, systemClock);
    const due = systemClock.now();
    const job = newJob({ concurrentExecutionPolicy: "Queue", nextDueAt: due, maxRetries: 1 });
    await one.store.jobs.insert([job]);
    const { epoch } = await one.store.ledger.raiseEpoch("one", due, due + LEASE_MS);
    const known: JobMessage[] = [];
    const ids: string[] = [];
    const pick = <T>(from: readonly T[]): T | undefined => from[Math.floor(random.next() * from.length)];
    const step = async ({ store, attempts }: PostgresStore) => {
      const chance = random.next();
      const message = pick(known);
      const now = systemClock.now();
      if (chance < 0.3) {
        const answer = await store.outcomes.trigger(request(job, 1 + Math.floor(random.next() * 3)));
        if (!answer.ok) return;
        known.push(...answer.messages);
        ids.push(...answer.occurrenceIds);
      } else if (chance < 0.4) {
        const current = await store.jobs.get(job.id);
        if (current === null) return;
        const concurrentExecutionPolicy = random.next() < 0.5 ? "Allow" : "Queue";
        await store.jobs.update({ ...current, concurrentExecutionPolicy, updatedAt: now }, current.version);
      } else if (chance < 0.5) {
        const current = await store.jobs.get(job.id);
        if (current === null || current.nextDueAt === null) return;
        const answer = await store.ledger.decide(epoch, [{
          jobId: job.id,
          jobVersion: current.version,
          expectedDueAt: current.nextDueAt,
          nextDueAt: current.nextDueAt + 1,
          slots: [{ occurrenceId: systemRandom.uuid(), dueAt: current.nextDueAt, origin: "schedule" }],
          ranges: [],
          defaults: DEFAULTS,
        }], now);
        if (answer.ok) known.push(...answer.messages);
      } else if (chance < 0.6) {
        const id = pick(ids);
        if (id === undefined) return;
        const answer = await store.outcomes.cancel(id, { by: "alice", reason: "no", requestedAt: now });
        if (answer.ok && answer.state === "cancelled") known.push(...answer.record.released);
      } else if (message !== undefined) {
        const [claim] = await attempts.claim([{ message, workerId: "pool", instanceId: "one" }], LEASE_MS);
        const token = claim?.ok === true ? claim.token : message.token + 1;
        const reports = [
          reportOf(message, token, random.next() < 0.3 ? FAILED : COMPLETED),
          ...(random.next() < 0.3 ? [reportOf(message, token)] : []),
        ];
        known.push(...(await store.outcomes.record(reports, now, random.next())).released);
      }
    };
    const walk = async (opened: PostgresStore) => {
      for (let count = 0; count < 60; count += 1) await step(opened);
    };
    await Promise.all([one, one, one, two, two, two].map(walk));

    // Whatever is left is run out; then nothing waits and nothing holds.
    const ready = async () => (await one.store.ledger.recoverable(systemClock.now() + 86_400_000, 1000));
    const silent = await one.store.ledger.silentAttempts(Infinity, 1000);
    await one.store.ledger.reap(epoch, silent, systemClock.now(), 0);
    for (let round = 0; round < 200; round += 1) {
      const rest = await ready();
      if (rest.length === 0) break;
      for (const { message } of rest) {
        await one.store.outcomes.cancel(message.occurrenceId, {
          by: "alice",
          reason: "end",
          requestedAt: systemClock.now(),
        });
      }
    }
    const { byStatus } = await one.store.history.counts();
    assertEquals([byStatus.Queued, byStatus.Running], [0, 0]);
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    const counted = await sql`SELECT status, count(*)::integer AS count FROM occurrences GROUP BY status`;
    const holds = await sql`SELECT * FROM holds`;
    await sql.end();
    assertEquals([...holds], []);
    const total = Object.values(byStatus).reduce((sum, count) => sum + count, 0);
    assertEquals(counted.reduce((sum, row) => sum + Number(row["count"]), 0), total);
  },
);

serverTest(
  ["postgres"],
  "postgres: what a lost queue held is published anew, although an instance notes later that the queue had it",
  async () => {
    await using database = await temporaryDatabase();
    await using leader = await openStore(database.url);
    const creator = await openStore(database.url);
    const job = newJob();
    await creator.store.jobs.insert([job]);
    const triggered = await creator.store.outcomes.trigger(request(job));
    assert(triggered.ok);
    creator.store.outcomes.notePublished(triggered.messages);
    const { ledger } = leader.store;
    const { epoch } = await ledger.raiseEpoch("leader", systemClock.now(), systemClock.now() + 60_000);
    assertEquals(await ledger.wantPublishing(epoch, null, systemClock.now()), 1);
    // It writes down what it noted before.
    await creator.store.close();
    const rows = await ledger.recoverable(systemClock.now(), 10);
    assertEquals(rows.map((row) => [row.message.occurrenceId, row.looks]), [
      [triggered.messages[0]?.occurrenceId, 0],
    ]);
  },
);
