import { assert, assertEquals, assertMatch } from "@std/assert";
import { loadConfig } from "./config.ts";
import { printConfig } from "./config_print.ts";

const TOKEN = "0123456789abcdef";

async function printed(output: "table" | "json"): Promise<string> {
  const loaded = await loadConfig({
    env: { MILVAION_API_TOKEN: TOKEN, Worker__MaxParallelJobs: "3" },
    flags: [{ path: "MilvaionConfig.Api.Port", flag: "--port", value: "0" }],
    machine: { cores: 2 },
    readTextFile: () => Promise.resolve('{"JobConsumers":{"SampleJob":{"MaxRetries":1}}}'),
  });
  assert(loaded.ok);
  return printConfig(loaded.sources, output);
}

Deno.test("config print shows each value and where it came from", async () => {
  const text = await printed("table");
  for (
    const line of [
      /^KEY +VALUE +FROM$/m,
      /^MilvaionConfig\.Api\.Port +0 +--port$/m,
      /^MilvaionConfig\.Api\.Host +127\.0\.0\.1 +default$/m,
      /^Worker\.MaxParallelJobs +3 +Worker__MaxParallelJobs$/m,
      /^JobConsumers\.SampleJob\.MaxRetries +1 +milvaion\.json$/m,
    ]
  ) assertMatch(text, line);
});

Deno.test("config print masks secrets in both forms", async () => {
  assertMatch(await printed("table"), /^MilvaionConfig\.Api\.Token +\*{8} +MILVAION_API_TOKEN$/m);
  for (const output of ["table", "json"] as const) assert(!(await printed(output)).includes(TOKEN));
});

Deno.test("config print as JSON is keyed by path", async () => {
  const byPath = JSON.parse(await printed("json"));
  assertEquals(byPath["Worker.MaxParallelJobs"], { value: 3, source: "Worker__MaxParallelJobs" });
  assertEquals(byPath["MilvaionConfig.Redis.Url"], { value: null, source: "default" });
});
