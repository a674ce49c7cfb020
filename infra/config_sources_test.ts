/** Where a value comes from: flags, the environment, files with secrets, the configuration file. */
import { assert, assertEquals } from "@std/assert";
import { good, problems } from "../tests/support/given_config.ts";
import { secretsOf } from "./config.ts";
import { CONSUMER_SECTION, FIXED_SECTIONS, keysOf } from "./config_schema.ts";

Deno.test("flags win over the environment, long names over short ones, the environment over the file", async () => {
  const { config, sources } = await good({
    files: {
      "milvaion.json": JSON.stringify({
        MilvaionConfig: { Api: { Port: 1001, Host: "127.0.0.2" }, JobDispatcher: { BatchSize: 5 } },
      }),
    },
    env: {
      PORT: "1002",
      HOST: "127.0.0.3",
      MilvaionConfig__Api__Host: "127.0.0.4",
      MilvaionConfig__JobDispatcher__LockTtlSeconds: "30",
      Worker__MaxParallelJobs: "",
    },
    flags: [
      { path: "MilvaionConfig.Api.Port", flag: "--port", value: "1003" },
      { path: "Worker.JobFolders", flag: "--jobs", value: ["./a,b", "./c"] },
    ],
  });
  const { Api, JobDispatcher } = config.MilvaionConfig;
  assertEquals([Api.Port, Api.Host, JobDispatcher.BatchSize, JobDispatcher.LockTtlSeconds], [
    1003,
    "127.0.0.4",
    5,
    30,
  ]);
  assertEquals(config.Worker.JobFolders, ["./a,b", "./c"]);
  assertEquals(config.Worker.MaxParallelJobs, 8);
  assertEquals(sources.get("MilvaionConfig.Api.Port"), { value: 1003, source: "--port" });
  assertEquals(sources.get("MilvaionConfig.JobDispatcher.BatchSize"), { value: 5, source: "milvaion.json" });
});

Deno.test("job consumers are set from the environment, permissions included", async () => {
  const { config } = await good({
    env: {
      JobConsumers__SendEmailJob__MaxRetries: "7",
      JobConsumers__SendEmailJob__Permissions__net: "smtp.example.com:25, api.example.com",
      JobConsumers__SendEmailJob__Permissions__read: "true",
      Worker__JobTypes: "SendEmailJob,SampleJob",
      Worker__Samples: "false",
    },
  });
  assertEquals(config.JobConsumers["SendEmailJob"], {
    MaxRetries: 7,
    Permissions: { net: ["smtp.example.com:25", "api.example.com"], read: true },
  });
  assertEquals(config.Worker.JobTypes, ["SendEmailJob", "SampleJob"]);
  assertEquals(config.Worker.Samples, false);
});

Deno.test("every key can be set by its long name in the environment", async () => {
  const known = [
    ...keysOf(FIXED_SECTIONS),
    ...keysOf(CONSUMER_SECTION).map(([path, key]) => [["JobConsumers", "SampleJob", ...path], key] as const),
  ];
  for (const [path] of known) {
    const name = path.join("__");
    const lines = await problems({ env: { [name]: "\u0001" } });
    // Whatever is wrong with the value, the key itself is known.
    for (const line of lines) assert(!line.includes("unknown key"), line);
  }
});

Deno.test("a secret comes from a file without its last newline, and is never shown", async () => {
  const { config, sources } = await good({
    files: { "/run/secrets/token": "0123456789abcdef\n", "/run/secrets/db": "postgres://me:p%40ss@db/x\r\n" },
    env: {
      MILVAION_API_TOKEN_FILE: "/run/secrets/token",
      DATABASE_URL_FILE: "/run/secrets/db",
      HOST: "0.0.0.0",
    },
  });
  assertEquals(config.MilvaionConfig.Api.Token, "0123456789abcdef");
  assertEquals(config.MilvaionConfig.Postgres.Url, "postgres://me:p%40ss@db/x");
  assertEquals(sources.get("MilvaionConfig.Api.Token"), {
    value: "********",
    source: "MILVAION_API_TOKEN_FILE (/run/secrets/token)",
  });
  assertEquals(sources.get("MilvaionConfig.Redis.Url"), { value: null, source: "default" });
  assertEquals(secretsOf(config), ["0123456789abcdef", "postgres://me:p%40ss@db/x", "p%40ss", "p@ss"]);
});

Deno.test("variables that were surely meant for this program are warned about", async () => {
  const { warnings } = await good({
    env: {
      MILVAION_DATADIR: "/x",
      MILVAION_URL: "http://127.0.0.1:5000",
      WORKER__MaxParallelJobs: "5",
      JobConsumer__SampleJob__MaxRetries: "1",
      NVM_RC__VERSION: "1",
    },
  });
  assertEquals(warnings, [
    "The environment sets MILVAION_DATADIR, which means nothing here. Did you mean MILVAION_DATA_DIR?",
    "The environment sets WORKER__MaxParallelJobs, which means nothing here. Did you mean Worker__MaxParallelJobs? Letter case counts.",
    "The environment sets JobConsumer__SampleJob__MaxRetries, which means nothing here. Did you mean JobConsumers__SampleJob__MaxRetries? Letter case counts.",
  ]);
});
