/** Rules between keys: what contradicts another (B39) is refused, what has no effect is warned about. */
import { assertEquals, assertMatch } from "@std/assert";
import { type Given, good, jsonFile, problems } from "../tests/support/given_config.ts";

const RULES: readonly { readonly name: string; readonly given: Given; readonly says: RegExp }[] = [
  {
    name: "a lease shorter than three heartbeats",
    given: jsonFile({ Worker: { LeaseSeconds: 14 } }),
    says: /^Worker\.LeaseSeconds: got 14, expected at least 3 × Worker\.Heartbeat\.IntervalSeconds \(15\)/,
  },
  {
    name: "a kill grace that outlasts the stop",
    given: jsonFile({ Worker: { KillGraceSeconds: 25 } }),
    says: /^Worker\.KillGraceSeconds: got 25, expected less than Worker\.ShutdownGraceSeconds \(25\)/,
  },
  {
    name: "an address beyond loopback without a token",
    given: { env: { HOST: "0.0.0.0" } },
    says:
      /^MilvaionConfig\.Api\.Token: got none, expected a token, because MilvaionConfig\.Api\.Host \(0\.0\.0\.0\)/,
  },
  {
    name: "polling without a pause",
    given: jsonFile({ MilvaionConfig: { JobDispatcher: { PollingIntervalSeconds: 0 } } }),
    says: /got 0, expected a whole number of seconds from 1 to 3600$/,
  },
  {
    name: "a lock too short to be renewed in time",
    given: jsonFile({ MilvaionConfig: { JobDispatcher: { LockTtlSeconds: 2 } } }),
    says: /got 2, expected a whole number of seconds from 3 to 86400$/,
  },
];

for (const { name, given, says } of RULES) {
  Deno.test(`B39 configuration refuses ${name} and names the rule`, async () => {
    const lines = await problems(given);
    assertEquals(lines.length, 1, lines.join("\n"));
    assertMatch(lines[0] ?? "", says);
  });
}

Deno.test("B39 a lease of exactly three heartbeats is accepted", async () => {
  const { config } = await good(jsonFile({ Worker: { LeaseSeconds: 9, Heartbeat: { IntervalSeconds: 3 } } }));
  assertEquals(config.Worker.LeaseSeconds, 9);
});

Deno.test("a consumer that asks for more than its worker has boots with a warning and the smaller count", async () => {
  const { warnings, sources } = await good(jsonFile({
    Worker: { MaxParallelJobs: 10 },
    JobConsumers: {
      SendEmailJob: { MaxParallelJobs: 20, Threads: 16 },
      GenerateReportJob: { MaxParallelJobs: 2 },
    },
  }));
  assertEquals(warnings, [
    "JobConsumers.SendEmailJob.MaxParallelJobs is 20, more than Worker.MaxParallelJobs (10): 10 counts.",
    "JobConsumers.SendEmailJob.Threads is 16, more than its 10 lanes: 10 counts.",
  ]);
  assertEquals(sources.get("JobConsumers.SendEmailJob.MaxParallelJobs"), {
    value: 10,
    source: "milvaion.json, limited to what Worker allows",
  });
});

Deno.test("keys of a cluster are accepted without one with a warning that they have no effect", async () => {
  const clustered = await good({
    ...jsonFile({ MilvaionConfig: { RabbitMQ: { QueueType: "classic" } } }),
    env: { AMQP_URL: "amqp://broker" },
  });
  assertEquals(clustered.warnings, []);
  const { warnings } = await good(jsonFile({ MilvaionConfig: { RabbitMQ: { QueueType: "classic" } } }));
  assertEquals(warnings, [
    "MilvaionConfig.RabbitMQ.QueueType (milvaion.json) concerns a cluster and has no effect in embedded mode.",
  ]);
});
