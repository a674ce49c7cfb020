/** What is configured when little is given, when the guide is followed, and whatever a file holds. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fastCheck from "fast-check";
import { good, load } from "../tests/support/given_config.ts";
import { type Config, problemLine } from "./config.ts";
import { CONSUMER_SECTION, FIXED_SECTIONS, keysOf } from "./config_schema.ts";

Deno.test("configuration has defaults for everything and needs no file", async () => {
  const { config, warnings, sources } = await good({});
  assertEquals(config.MilvaionConfig.Api.Port, 5000);
  assertEquals(config.MilvaionConfig.Api.Host, "127.0.0.1");
  assertEquals(config.MilvaionConfig.JobDispatcher.LockTtlSeconds, 15);
  assertEquals(config.MilvaionConfig.JobDispatcher.MisfireThresholdSeconds, 60);
  assertEquals(config.Worker.MaxParallelJobs, 8);
  assertEquals(config.Worker.ExecutionTimeoutSeconds, 3600);
  assertEquals(config.JobConsumers, {});
  assertEquals(warnings, []);
  assertEquals(sources.get("Worker.MaxParallelJobs"), { value: 8, source: "default" });
});

const GUIDE: readonly {
  readonly name: string;
  readonly printed: string;
  readonly promise: (config: Config) => void;
}[] = [
  {
    name: "email worker",
    printed: `{
"Worker": {
"WorkerId": "email-worker",
"MaxParallelJobs": 100
}
}`,
    promise: ({ Worker }) => assertEquals([Worker.WorkerId, Worker.MaxParallelJobs], ["email-worker", 100]),
  },
  {
    name: "report worker",
    printed: `{
"Worker": {
"WorkerId": "report-worker",
"MaxParallelJobs": 4
}
}`,
    promise: ({ Worker }) => assertEquals([Worker.WorkerId, Worker.MaxParallelJobs], ["report-worker", 4]),
  },
  {
    name: "lock TTL",
    printed: `{
"MilvaionConfig": {
"JobDispatcher": {
"LockTtlSeconds": 600
}
}
}`,
    promise: ({ MilvaionConfig }) => assertEquals(MilvaionConfig.JobDispatcher.LockTtlSeconds, 600),
  },
  {
    name: "worker-level concurrency",
    printed: `{
"Worker": {
"MaxParallelJobs": 10
},
"JobConsumers": {
"SendEmailJob": { "MaxParallelJobs": 20 },
"GenerateReportJob": { "MaxParallelJobs": 2 }
}
}`,
    promise: ({ Worker, JobConsumers }) => {
      assertEquals(Worker.MaxParallelJobs, 10);
      assertEquals(JobConsumers["SendEmailJob"], { MaxParallelJobs: 10 });
      assertEquals(JobConsumers["GenerateReportJob"], { MaxParallelJobs: 2 });
    },
  },
];

for (const { name, printed, promise } of GUIDE) {
  Deno.test(`the guide's configuration loads as printed: ${name}`, async () => {
    promise((await good({ files: { "milvaion.json": printed } })).config);
  });
}

Deno.test("whatever JSON a file holds, loading answers and never throws", async () => {
  await fastCheck.assert(fastCheck.asyncProperty(fastCheck.json(), async (text) => {
    const loaded = await load({ files: { "milvaion.json": text } });
    if (!loaded.ok) { for (const problem of loaded.problems) assert(problemLine(problem).length > 0); }
  }));
});

Deno.test("each integer key takes exactly the numbers within its bounds", async () => {
  await fastCheck.assert(
    fastCheck.asyncProperty(fastCheck.integer({ min: -10, max: 70_000 }), async (port) => {
      const loaded = await load({ env: { PORT: String(port) } });
      assertEquals(loaded.ok, port >= 0 && port <= 65_535);
    }),
  );
});

Deno.test("the page about configuration names every key with its default and its short variable", async () => {
  const page = await Deno.readTextFile(new URL("./README.md", import.meta.url));
  for (const [path, key] of [...keysOf(FIXED_SECTIONS), ...keysOf(CONSUMER_SECTION)]) {
    assertStringIncludes(page, `\`${path.join(".")}\``);
    if (key.variable !== null) assertStringIncludes(page, `\`${key.variable}\``);
  }
});
