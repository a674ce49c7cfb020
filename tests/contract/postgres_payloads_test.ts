/** What a worker's role may have of job data and results: those of attempts that it has claimed, and no others. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import postgres from "postgres";
import { keptResult, type Outcome } from "../../actors/domain/message.ts";
import { openPostgresAttempts, openPostgresStore } from "../../infra/postgres/store.ts";
import { grantWorker, workerGrants } from "../../infra/postgres/worker_role.ts";
import { KeptLog } from "../support/quiet.ts";
import { storeOptions } from "../support/postgres_world.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";
import { LEASE_MS, StoreWorld } from "./store_fixture.ts";

const LARGE = JSON.stringify({ text: "ü😀" + "x".repeat(100_000) });
const KEPT: Outcome = { kind: "completed", result: keptResult(LARGE.length), resultIsKept: true };

interface Ground {
  readonly world: StoreWorld;
  /** The attempts of a worker whose role may claim. */
  readonly worker: Awaited<ReturnType<typeof openPostgresAttempts>>["attempts"];
  /** What the worker said when it opened. */
  readonly said: readonly string[];
  /** Asks as that role. */
  ask(statement: string, parameters?: readonly (string | number)[]): Promise<unknown[][]>;
}

async function withWorkerRole(
  work: (ground: Ground) => Promise<void>,
  { schema, grants = "all" }: { readonly schema?: string; readonly grants?: "all" | "as before" } = {},
): Promise<void> {
  await using database = await temporaryDatabase();
  const role = `${database.name}_worker`;
  const as = (user: string | null) => {
    const url = new URL(database.url);
    if (user !== null) url.username = user;
    return url.href;
  };
  const run = async (
    user: string | null,
    statement: string,
    parameters: readonly (string | number)[] = [],
  ) => {
    const sql = postgres(as(user), { max: 1, onnotice: () => {} });
    try {
      return await sql.unsafe(statement, [...parameters]).values();
    } finally {
      await sql.end();
    }
  };
  const place = schema === undefined ? {} : { schema };
  await run(null, `CREATE ROLE ${role} LOGIN`);
  try {
    await StoreWorld.within(async ({ clock, random }) => {
      const { store, attempts } = await openPostgresStore(
        storeOptions(database.url, { clock, random, ...place }),
      );
      return { store, attempts, close: () => store.close() };
    }, async (world) => {
      if (grants === "all") await grantWorker(storeOptions(database.url, place), role, { dryRun: false });
      else {
        for (const grant of workerGrants(role, schema)) {
          if (!grant.includes("FUNCTION")) await run(null, grant);
        }
      }
      const log = new KeptLog();
      const worker = await openPostgresAttempts(
        storeOptions(as(role), { clock: world.clock, log, ...place }),
      );
      try {
        await work({
          world,
          worker: worker.attempts,
          said: log.lines.map(({ message }) => message),
          ask: (statement, parameters) => run(role, statement, parameters),
        });
      } finally {
        await worker.close();
      }
    });
  } finally {
    await run(null, `DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
}

for (const schema of [undefined, "milvaion"]) {
  serverTest(
    ["postgres"],
    `a worker's role gets the job data of what it claims, with the claim (${schema ?? "usual schema"})`,
    () =>
      withWorkerRole(async ({ world, worker }) => {
        const message = await world.queued(await world.saved({ jobData: LARGE }));
        const request = {
          message: { ...message, jobDataBytes: LARGE.length },
          workerId: "pool",
          instanceId: "worker-1",
        };
        assertEquals(await worker.claim([request], LEASE_MS), [
          { ok: true, token: 1, attempt: 1, jobData: LARGE },
        ]);
        assertEquals(await worker.claim([request], LEASE_MS), [{ ok: false, reason: "stale-token" }]);
      }, schema === undefined ? {} : { schema }),
  );
}

serverTest(
  ["postgres"],
  "a worker's role gets nothing of what it has not claimed, of older tokens, other instances, or by tables of its own",
  () =>
    withWorkerRole(async ({ world, worker, ask, said }) => {
      assertEquals(said, []);
      const job = await world.saved({ jobData: LARGE });
      const queued = await world.queued(job);
      const message = await world.queued(job);
      const claim = { message, workerId: "pool", instanceId: "worker-1" };
      assertEquals((await worker.claim([claim], LEASE_MS))[0]?.ok, true);
      const [[own]] = await ask("SELECT seq FROM instances WHERE instance_id = 'worker-1'") as [[string]];
      const jobData = async (occurrenceId: string, token: number, instance: number) =>
        (await ask(
          "SELECT claimed_job_data($1::uuid, to_timestamp($2::float8 / 1000), $3::integer, $4::bigint)",
          [occurrenceId, message.scheduledFor, token, instance],
        ))[0]?.[0];
      const instance = Number(own);
      assertEquals(await jobData(message.occurrenceId, 1, instance), LARGE);
      assertEquals(await jobData(queued.occurrenceId, 0, instance), null);
      assertEquals(await jobData(message.occurrenceId, 0, instance), null);
      assertEquals(await jobData(message.occurrenceId, 2, instance), null);
      assertEquals(await jobData(message.occurrenceId, 1, instance + 1), null);
      // Names of its own do not stand in for the owner's tables.
      assertEquals(
        (await ask(
          `CREATE TEMPORARY TABLE payloads (seq bigint, data text);
           SELECT claimed_job_data('${message.occurrenceId}', to_timestamp(${message.scheduledFor} / 1000.0), 1, ${instance})`,
        )).flat(2).includes(LARGE),
        true,
      );
      for (const statement of ["SELECT job_data FROM occurrences", "SELECT data FROM payloads"]) {
        assertMatch((await assertRejects(() => ask(statement), Error)).message, /permission denied/);
      }
      await world.record({ ...message, token: 1 }, { kind: "completed", result: null });
      assertEquals(await jobData(message.occurrenceId, 1, instance), null, "it runs no more");
    }),
);

serverTest(
  ["postgres"],
  "a role from before job data came with claims: the claim is refused whole, and the occurrence stays queued",
  () =>
    withWorkerRole(async ({ world, worker, said }) => {
      assertMatch(said.join(), /cannot claim runs with large job data. Run: migrate --worker-role/);
      const message = await world.queued(await world.saved());
      const request = (jobDataBytes?: number) => ({
        message: { ...message, ...(jobDataBytes === undefined ? {} : { jobDataBytes }) },
        workerId: "pool",
        instanceId: "worker-1",
      });
      const refused = await assertRejects(() => worker.claim([request(10)], LEASE_MS), Error);
      assertMatch(refused.message, /permission denied for function claimed_job_data/);
      assertEquals(await world.status(message.occurrenceId), "Queued");
      assertEquals((await worker.claim([request()], LEASE_MS))[0]?.ok, true, "others run as before");
    }, { grants: "as before" }),
);

serverTest(
  ["postgres"],
  "a result is kept for the newest attempt by who runs it only, and is seen with its report",
  () =>
    withWorkerRole(async ({ world, worker, ask }) => {
      const message = await world.queued(await world.saved());
      const run = { ...message, token: 1, workerId: "pool", instanceId: "worker-1" };
      assertEquals(await worker.keep(run, LARGE), false, "it does not run yet");
      await worker.claim([{ message, workerId: "pool", instanceId: "worker-1" }], LEASE_MS);
      assertEquals(await worker.keep({ ...run, token: 0 }, LARGE), false);
      assertEquals(await worker.keep({ ...run, instanceId: "worker-2" }, LARGE), false);
      assertEquals(await worker.keep(run, LARGE), true);
      assertEquals(await worker.keep(run, LARGE), true, "twice does it once");
      assertEquals(
        (await world.detail(message.occurrenceId)).occurrence.result,
        null,
        "not without its report",
      );
      await world.record(run, KEPT);
      assertEquals((await world.detail(message.occurrenceId)).occurrence.result, LARGE);
      assertEquals(await worker.keep(run, '"other"'), false, "it has ended");
      await assertRejects(() => ask("UPDATE occurrences SET result = '1'"));
    }),
);

serverTest(
  ["postgres"],
  "a kept result goes with its attempt: one that is handed back leaves none, and the next one's counts",
  () =>
    withWorkerRole(async ({ world, worker }) => {
      const job = await world.saved({ concurrentExecutionPolicy: "Skip" });
      const message = await world.running(job);
      const run = { ...message, workerId: "pool", instanceId: "worker-1" };
      assertEquals(await worker.keep(run, LARGE), true);
      await world.record(message, { kind: "handedBack", why: "stopping" });
      assertEquals((await world.detail(message.occurrenceId)).occurrence.result, null);
      const again = await world.claimed(message);
      await world.record(again, { kind: "completed", result: '"small"' });
      assertEquals((await world.detail(message.occurrenceId)).occurrence.result, '"small"');
    }),
);

serverTest(
  ["postgres"],
  "a report of a kept result without one shows what it says, and nothing is invented",
  () =>
    withWorkerRole(async ({ world }) => {
      const message = await world.running(await world.saved());
      const answer = await world.record(message, KEPT);
      assert(answer.changed.length === 1);
      assertEquals((await world.detail(message.occurrenceId)).occurrence.result, keptResult(LARGE.length));
    }),
);
