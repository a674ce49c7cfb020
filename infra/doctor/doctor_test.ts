/** What the doctor says without any server: judgements, the data folder, the machine, its two outputs. */
import { DatabaseSync } from "node:sqlite";
import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { KeptLog } from "../../tests/support/quiet.ts";
import { systemClock, systemRandom } from "../clock.ts";
import { openEmbeddedStore } from "../embedded/store.ts";
import { examine, ok } from "./check.ts";
import { type CheckResult, type DoctorOptions, formatDoctor, hasFailed, runDoctor } from "./doctor.ts";
import { passingFileSystem } from "./outbox.ts";
import { connections } from "./postgres.ts";
import { connections as brokerConnections } from "./rabbitmq.ts";
import { encryption, judgeSkew, serverAddress, skewOf } from "./server_address.ts";

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

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-doctor-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function find(results: readonly CheckResult[], subject: string, check: string): CheckResult {
  const found = results.find((one) => one.subject === subject && one.check === check);
  assert(found !== undefined, `no check ${subject} ${check}`);
  return found;
}

Deno.test("doctor shows host and port of a server, never its credentials", () => {
  assertEquals(serverAddress("postgres://u:secret@db/milvaion", 5432).place, "db:5432");
  assertEquals(serverAddress("redis://:secret@[::1]:7000", 6379).isLoopback, true);
  assertEquals(serverAddress("no address", 5432).place, "localhost:5432");
});

Deno.test("doctor warns of a connection that is not encrypted only where others could listen", () => {
  const away = serverAddress("redis://cache.example:6379", 6379);
  const here = serverAddress("redis://127.0.0.1:6379", 6379);
  assertEquals(encryption(away, false, "remedy").state, "warning");
  assertEquals([encryption(away, true, "").state, encryption(here, false, "").state], ["ok", "ok"]);
});

Deno.test("doctor takes half a second of clock skew for a warning and five seconds for a failure", () => {
  const states = [0, 499, -499, 500, -4999, 5000, -86_400_000].map((skew) => judgeSkew(skew).state);
  assertEquals(states, ["ok", "ok", "ok", "warning", "warning", "failed", "failed"]);
  assertEquals(judgeSkew(1500).words, "is 1.50 s ahead of this machine's");
});

Deno.test("doctor measures a clock from the middle of the time that the answer took", async () => {
  const clock = new ManualClock();
  const skew = await skewOf(clock, async () => {
    await clock.advance(1000);
    const theirs = clock.now() + 3000;
    await clock.advance(1000);
    return theirs;
  });
  assertEquals(skew, 3000);
});

Deno.test("doctor adds up what workers and API instances may want, and warns before PostgreSQL runs out", () => {
  const facts = { most: 100, reserved: 3, used: 10, apis: 2 };
  const stateOf = (workers: number | null, change: Partial<typeof facts> = {}) =>
    connections({ ...facts, ...change }, { workers, apiConnections: 10 });
  assertEquals(
    stateOf(28).message,
    "10 of 100 connections are in use; 28 workers × 2 + 2 API instances × 10 = 76, of 97 to be had.",
  );
  assertEquals(stateOf(28).state, "ok");
  assertEquals(stateOf(29).state, "warning");
  assert(stateOf(29).message.endsWith("= 78, of 97 to be had: more than four fifths."));
  const many = stateOf(50);
  assert(many.message.endsWith("50 workers × 2 + 2 API instances × 10 = 120, of 97 to be had: too few."));
  assert(many.nextStep?.includes("max_connections = 153"), many.nextStep ?? "");
  assertEquals(stateOf(50, { most: 153 }).state, "ok");
  assertEquals(stateOf(null).state, "ok");
  assertEquals(stateOf(null, { used: 90 }).state, "warning");
});

Deno.test("doctor adds up the connections to RabbitMQ, and warns of more than brokers usually allow", () => {
  assert(brokerConnections(50).message.endsWith("50 workers × 2 = 100, and 2 for each API instance."));
  assertEquals([50, null, 26_214, 26_215].map((workers) => brokerConnections(workers).state), [
    "unknown",
    "unknown",
    "unknown",
    "warning",
  ]);
});

Deno.test("doctor gives up what does not answer, and says of a check that threw that it does not know", async () => {
  const clock = new ManualClock();
  const examined = examine({
    subject: "Server",
    reach: () => Promise.resolve(1),
    explain: (error) => ok(error.message),
    checks: [
      { name: "quick", look: () => ok("Fine.") },
      { name: "throws", look: () => Promise.reject(new Error("no permission to ask")) },
      { name: "hangs", look: () => new Promise(() => {}) },
    ],
    leave: () => Promise.resolve(),
  }, clock);
  await Promise.resolve();
  await Promise.resolve();
  await clock.advance(5000);
  assertEquals((await examined).map(({ check, state, message }) => [check, state, message]), [
    ["quick", "ok", "Fine."],
    ["throws", "unknown", "Cannot find out: no permission to ask."],
    ["hangs", "unknown", "Cannot find out: no answer within 5 s."],
  ]);
});

Deno.test("doctor creates no data folder, and finds a damaged file in one that is there", async () => {
  await inFolder(async (folder) => {
    const dataDir = `${folder}/data`;
    const before = await runDoctor({ ...NOTHING, dataDir });
    assertEquals(hasFailed(before), false);
    assert(find(before, "Data folder", "writable").message.includes("not there yet"));
    assertEquals([...Deno.readDirSync(folder)].length, 0);

    await Deno.mkdir(dataDir);
    await Deno.writeTextFile(
      `${dataDir}/milvaion.db`,
      "this is no database, and long enough to be read as one".repeat(100),
    );
    const damaged = find(await runDoctor({ ...NOTHING, dataDir }), "Data folder", "integrity");
    assertEquals(damaged.state, "failed");
    assert(damaged.nextStep?.includes(".recover"));
  });
});

Deno.test("doctor leaves a folder alone that a program works on, and finds a newer schema when it does not", async () => {
  await inFolder(async (folder) => {
    const log = new KeptLog();
    const { store } = await openEmbeddedStore({ folder, clock: systemClock, random: systemRandom, log });
    const busy = await runDoctor({ ...NOTHING, dataDir: folder });
    assertEquals(hasFailed(busy), false);
    assert(find(busy, "Data folder", "writable").message.includes("in use by"));
    assertEquals(find(busy, "Data folder", "integrity").state, "unknown");
    await store.close();

    const idle = await runDoctor({ ...NOTHING, dataDir: folder });
    assertEquals(
      idle.filter(({ subject }) => subject === "Data folder").map(({ check, state }) => [check, state]),
      [
        ["writable", "ok"],
        ["schema", "ok"],
        ["integrity", "ok"],
        ["free space", "ok"],
      ],
    );

    const newer = new DatabaseSync(`${folder}/milvaion.db`);
    newer.exec("PRAGMA user_version = 999");
    newer.close();
    assertEquals(
      find(await runDoctor({ ...NOTHING, dataDir: folder }), "Data folder", "schema").state,
      "failed",
    );
  });
});

Deno.test("doctor tells a port in use by another program from one where Milvaion runs", async () => {
  const api = (port: number) => ({ host: "127.0.0.1", port });
  let answer = new Response("no", { status: 404 });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, () => answer.clone());
  const { port } = server.addr;
  assertEquals(find(await runDoctor({ ...NOTHING, api: api(port) }), "Machine", "port").state, "failed");
  answer = new Response("ok");
  assertEquals(find(await runDoctor({ ...NOTHING, api: api(port) }), "Machine", "port").state, "ok");
  await server.shutdown();
  assertEquals(find(await runDoctor({ ...NOTHING, api: api(port) }), "Machine", "port").state, "ok");
});

Deno.test("doctor prints a table with next steps, or JSON, and fails when anything failed", () => {
  const results: readonly CheckResult[] = [
    { subject: "Redis", check: "reachable", state: "ok", message: "It answers.", nextStep: null },
    {
      subject: "Redis",
      check: "version",
      state: "failed",
      message: "Too\u001b[2J old.",
      nextStep: "Move on.",
    },
  ];
  assertEquals(
    formatDoctor(results, "table", false),
    "STATE   SUBJECT  CHECK      FOUND\n" +
      "ok      Redis    reachable  It answers.\n" +
      "failed  Redis    version    Too\\u001b[2J old.\n" +
      "         → Move on.\n\n" +
      "1 failure: mend what failed before you start.\n",
  );
  assert(formatDoctor(results, "table", true).includes("\u001b[31mfailed\u001b[0m"));
  assertEquals(JSON.parse(formatDoctor(results, "json", true)), { isWell: false, checks: results });
  assertEquals([hasFailed(results), hasFailed(results.slice(0, 1))], [true, false]);
});

Deno.test("doctor ends with what was not found out, and speaks of a start only before one", () => {
  const result = (state: CheckResult["state"], subject = "Redis"): CheckResult => ({
    subject,
    check: "version",
    state,
    message: "So it is.",
    nextStep: null,
  });
  const lastOf = (...results: CheckResult[]) =>
    formatDoctor(results, "table", false).trimEnd().split("\n").at(-1);
  assertEquals(lastOf(result("ok")), "All is well.");
  assertEquals(lastOf(result("ok"), result("unknown")), "Nothing is wrong that could be seen; 1 unknown.");
  assertEquals(
    lastOf(result("warning"), result("unknown")),
    "1 warning, 1 unknown; nothing that prevents a start.",
  );
  assertEquals(
    lastOf(result("failed"), result("warning", "Running")),
    "1 failure, 1 warning: change what failed first.",
  );
  assertEquals(lastOf(result("ok", "Running"), result("warning")), "1 warning.");
});

Deno.test("doctor looks at a worker's outbox: where it may be made, and files that wait for a worker", async () => {
  await inFolder(async (folder) => {
    const look = () => runDoctor({ ...NOTHING, outboxDir: `${folder}/outbox` });
    const before = await look();
    assertEquals(find(before, "Outbox", "writable").state, "ok");
    assertEquals(find(before, "Outbox", "orphans").state, "ok");
    assertEquals([...Deno.readDirSync(folder)], [], "nothing was created");

    Deno.mkdirSync(`${folder}/outbox`);
    for (const name of ["left.db", "left.lock", "held.db", "held.lock"]) {
      Deno.writeTextFileSync(`${folder}/outbox/${name}`, "");
    }
    using held = Deno.openSync(`${folder}/outbox/held.lock`, { read: true, write: true });
    held.lockSync(true);
    const { state, message } = find(await look(), "Outbox", "orphans");
    assertEquals([state, message], ["warning", "One file waits for a worker to adopt it."]);
  });
});

Deno.test("doctor warns of an outbox that cannot be written, and fails nothing for it", async () => {
  await inFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "");
    const results = await runDoctor({ ...NOTHING, outboxDir: `${folder}/file/outbox` });
    assertEquals(find(results, "Outbox", "writable").state, "warning");
    assertEquals(hasFailed(results), false);
  });
});

Deno.test("doctor knows the file systems that end with a container or a machine", () => {
  const words = [0x01021994, 0x794c7630, 0xef53].map(passingFileSystem);
  assertEquals(words, ["in memory (tmpfs)", "in the container's own layer (overlayfs)", null]);
});
