/** Configuration that is refused, one key at a time (B38): what is wrong and what would be right. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Given, jsonFile, problems } from "../tests/support/given_config.ts";

/** B38: what is given, and what the refusal says. */
const REFUSED: readonly { readonly name: string; readonly given: Given; readonly says: readonly RegExp[] }[] =
  [
    {
      name: "an unknown key",
      given: jsonFile({ MilvaionConfig: { JobDispatcher: { LockTtlSecond: 30 } } }),
      says: [
        /^MilvaionConfig\.JobDispatcher\.LockTtlSecond: .*Did you mean MilvaionConfig\.JobDispatcher\.LockTtlSeconds\?$/,
      ],
    },
    {
      name: "a key in the wrong section",
      given: jsonFile({ Worker: { LockTtlSeconds: 30 } }),
      says: [/^Worker\.LockTtlSeconds: .*Did you mean MilvaionConfig\.JobDispatcher\.LockTtlSeconds\?$/],
    },
    {
      name: "a section that was meant to be inside another",
      given: jsonFile({ JobDispatcher: { LockTtlSeconds: 30 } }),
      says: [/^JobDispatcher: .*Did you mean MilvaionConfig\.JobDispatcher\?$/],
    },
    {
      name: "an unknown key of a consumer",
      given: jsonFile({ JobConsumers: { SendEmailJob: { MaxRetrys: 1 } } }),
      says: [
        /^JobConsumers\.SendEmailJob\.MaxRetrys: .*Did you mean JobConsumers\.SendEmailJob\.MaxRetries\?$/,
      ],
    },
    {
      name: "a key that resembles nothing",
      given: jsonFile({ Worker: { Zzzzzz: 1 } }),
      says: [/^Worker\.Zzzzzz: .*Known in Worker: WorkerId, MaxParallelJobs/],
    },
    {
      name: "an unknown key in the environment",
      given: { env: { Worker__MaxParalelJobs: "5" } },
      says: [/^Worker__MaxParalelJobs: .*Did you mean Worker__MaxParallelJobs\?$/],
    },
    {
      name: "text for a number",
      given: jsonFile({ Worker: { MaxParallelJobs: "10" } }),
      says: [
        /^Worker\.MaxParallelJobs \(milvaion\.json\): got "10", expected a whole number from 1 to 1000\. Write 10 without quotes\.$/,
      ],
    },
    {
      name: "10 minutes",
      given: jsonFile({ Worker: { ExecutionTimeoutSeconds: "10 minutes" } }),
      says: [/got "10 minutes", expected a whole number of seconds .*: write 600\.$/],
    },
    {
      name: "10m in the environment",
      given: { env: { Worker__ExecutionTimeoutSeconds: "10m" } },
      says: [
        /^Worker\.ExecutionTimeoutSeconds \(Worker__ExecutionTimeoutSeconds\): got "10m".*: write 600\.$/,
      ],
    },
    {
      name: "a negative number",
      given: jsonFile({ Worker: { MaxParallelJobs: -1 } }),
      says: [/got -1, expected a whole number from 1 to 1000$/],
    },
    {
      name: "a number above the bound",
      given: { env: { PORT: "70000" } },
      says: [/^MilvaionConfig\.Api\.Port \(PORT\): got 70000, expected a whole number from 0 to 65535$/],
    },
    {
      name: "a fraction",
      given: jsonFile({ Worker: { LeaseSeconds: 15.5 } }),
      says: [/got 15\.5, expected a whole number of seconds/],
    },
    {
      name: "a section that is no section",
      given: jsonFile({ Worker: 10 }),
      says: [/^Worker: got 10, expected a section/],
    },
    {
      name: "a file that is no object",
      given: { files: { "milvaion.json": "[]" } },
      says: [/^milvaion\.json: got \[\], expected a section/],
    },
    {
      name: "JSON that is not JSON",
      given: { files: { "milvaion.json": '{\n  "Worker": {,}\n}' } },
      says: [/^milvaion\.json: got text that is not JSON, expected a JSON object\. .*line 2/],
    },
    {
      name: "a word that is not offered",
      given: { env: { MilvaionConfig__Logging__Level: "loud" } },
      says: [/one of debug, info, warn, error$/],
    },
    {
      name: "a name with a dot for a pool",
      given: jsonFile({ Worker: { WorkerId: "a.b" } }),
      says: [/letters, digits, - or _$/],
    },
    {
      name: "a job type that cannot be one",
      given: jsonFile({ JobConsumers: { "a*": {} } }),
      says: [/^JobConsumers\.a\*: .*name of a job type/],
    },
    {
      name: "a prototype for a section",
      given: { files: { "milvaion.json": '{"__proto__": {"a": 1}}' } },
      says: [/^__proto__: got an unknown key/],
    },
    {
      name: "a pattern that binds nothing",
      given: jsonFile({ JobConsumers: { SampleJob: { RoutingPattern: "*.x" } } }),
      says: [/ending in \.\* or \.#/],
    },
    {
      name: "the wrong server at an address",
      given: { env: { DATABASE_URL: "mysql://user:hunter2@db/x" } },
      says: [
        /^MilvaionConfig\.Postgres\.Url \(DATABASE_URL\): got \*{8}, expected an address such as postgres:\/\//,
      ],
    },
    {
      name: "a token that can be guessed",
      given: { env: { MILVAION_API_TOKEN: "short" } },
      says: [/got \*{8}, expected at least 16/],
    },
    {
      name: "a secret given twice",
      given: { env: { MILVAION_API_TOKEN: "a".repeat(20), MILVAION_API_TOKEN_FILE: "/t" } },
      says: [/^MILVAION_API_TOKEN_FILE: got MILVAION_API_TOKEN as well, expected one of the two$/],
    },
    {
      name: "a secret file that is not there",
      given: { env: { AMQP_URL_FILE: "/nowhere" } },
      says: [/^AMQP_URL_FILE: got \/nowhere, expected a file that can be read/],
    },
    {
      name: "a configuration file that is not there",
      given: { file: "./other.json" },
      says: [/^\.\/other\.json: got no such file/],
    },
  ];

for (const { name, given, says } of REFUSED) {
  Deno.test(`B38 configuration refuses ${name} and says what is right`, async () => {
    const lines = await problems(given);
    assertEquals(lines.length, says.length, lines.join("\n"));
    says.forEach((pattern, index) => assertMatch(lines[index] ?? "", pattern));
    assert(!lines.join().includes("hunter2"));
  });
}

Deno.test("B38 configuration names all problems at once", async () => {
  const lines = await problems({
    files: { "milvaion.json": JSON.stringify({ Worker: { MaxParallelJobs: 0, Foo: 1 }, Bar: {} }) },
    env: { PORT: "x", Worker__Nonsense: "1" },
    flags: [{ path: "MilvaionConfig.Logging.Level", flag: "--log-level", value: "loud" }],
  });
  assertEquals(lines.length, 6, lines.join("\n"));
});
