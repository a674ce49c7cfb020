/** `capacity` and `scaling`: what they ask, and the figures that they show. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Desk, json, problem } from "../../tests/support/cli_desk.ts";

const CAPACITY = {
  measured: { from: "2026-11-26T20:00:00.000Z", runs: 2000, isCut: true },
  pools: [{
    pool: "email-worker",
    wantedWorkers: 4,
    manifest: {
      kubernetesPatch: "spec:\n  replicas: 4\n",
      commands: ["docker compose up -d --scale email-worker=4"],
    },
    types: [
      {
        jobType: "SendEmailJob",
        workers: 3,
        maxParallelJobs: 10,
        averageSeconds: 2,
        jobsPerSecond: 15,
        demandPerSecond: 12.3456,
        utilisation: 0.823,
        expectedWait: { p95Seconds: 0.75 },
        backlog: 7,
        sentences: ["3 workers × 10 lanes ÷ 2 s = 15 a second."],
      },
      {
        jobType: "NewJob",
        workers: 3,
        maxParallelJobs: 10,
        averageSeconds: null,
        backlog: 0,
        sentences: ["none"],
      },
    ],
  }],
  sizing: { sentences: ["Redis: small."] },
  connections: [{ sentence: "PostgreSQL: enough." }],
};

Deno.test("capacity asks what it was told to ask, and shows figures with their sentences", async () => {
  await using desk = new Desk(() => json(CAPACITY));
  const { code, out } = await desk.run([
    "capacity",
    "--type",
    "SendEmailJob",
    "--load",
    "1.5",
    "--max-parallel-jobs",
    "20",
    "--target-wait",
    "0.5",
  ]);
  assertEquals(code, 0);
  assertEquals(
    desk.last.path,
    "/api/v1/capacity?jobType=SendEmailJob&load=1.5&maxParallelJobs=20&targetWaitSeconds=0.5",
  );
  assertMatch(out, /email-worker +SendEmailJob +3 × 10 +2 +15 +12\.3 +82\.3 % +0\.75 s +7 +4\n/);
  assertStringIncludes(out, "  3 workers × 10 lanes ÷ 2 s = 15 a second.\n");
  assertStringIncludes(
    out,
    "\nMeasured: the 2,000 newest runs, due since 2026-11-26T20:00:00.000Z; more came before.\n",
  );
  assertStringIncludes(out, "No run was measured of NewJob.\n");
  assertStringIncludes(out, "Servers:\n  Redis: small.\n  PostgreSQL: enough.\n");
});

Deno.test("capacity of an embedded installation speaks of servers as of what it does not have", async () => {
  await using desk = new Desk(() => json({ ...CAPACITY, connections: [] }));
  const { out } = await desk.run(["capacity"]);
  assertStringIncludes(out, "Servers, were this a cluster:\n  Redis: small.\n");
});

Deno.test("capacity --manifest prints what to apply and nothing else", async () => {
  await using desk = new Desk(() => json(CAPACITY));
  const { out, error } = await desk.run(["capacity", "--manifest"]);
  assertEquals(out, "# docker compose up -d --scale email-worker=4\nspec:\n  replicas: 4\n");
  assertEquals(error, "");
});

Deno.test("scaling asks for a pool with its bounds, and shows how it came to its answer", async () => {
  await using desk = new Desk(() =>
    json({
      wantedReplicas: 4,
      sentence: "4 workers, 3 there now.",
      needs: [{ replicas: 4, code: "backlog", jobType: "SendEmailJob", sentence: "7 wait." }],
    })
  );
  const { code, out } = await desk.run(["scaling", "email-worker", "--minimum", "1", "--maximum", "20"]);
  assertEquals([code, desk.last.path], [0, "/api/v1/pools/email-worker/scaling?minimum=1&maximum=20"]);
  assertStringIncludes(out, "4 workers, 3 there now.\n\nWORKERS  BECAUSE  TYPE");
});

Deno.test("a what-if that is refused ends with 65 and says what would be right", async () => {
  await using desk = new Desk(() =>
    problem(400, {
      title: "The request is not valid",
      code: "type",
      detail: "load must be a number, such as 2 or 0.5.",
      errors: [{ field: "load", code: "type", message: "load must be a number, such as 2 or 0.5." }],
    })
  );
  const { code, error } = await desk.run(["capacity", "--load", "much"]);
  assertEquals(code, 65);
  assertStringIncludes(error, "load must be a number, such as 2 or 0.5.");
});
