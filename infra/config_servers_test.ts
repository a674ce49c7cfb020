/** Addresses of servers: several at once, their secrets never shown, and what is wrong with one. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { good, load, problems } from "../tests/support/given_config.ts";
import { problemLine, secretsOf } from "./config.ts";

Deno.test("read replicas are a list of secret addresses, from the environment or a file", async () => {
  const DATABASE_URL = "postgres://me:secret@db/x";
  const urls = ["postgres://me:first@r1/x", "postgres://me:second%2C@r2:5433/x"];
  const given = [
    { env: { DATABASE_URL, DATABASE_READ_URLS: urls.join(" , ") } },
    {
      env: { DATABASE_URL, DATABASE_READ_URLS_FILE: "/run/secrets/replicas" },
      files: { "/run/secrets/replicas": urls.join("\n") + "\n" },
    },
    {
      env: { DATABASE_URL },
      files: { "milvaion.json": JSON.stringify({ MilvaionConfig: { Postgres: { ReadUrls: urls } } }) },
    },
  ];
  for (const one of given) {
    const { config, sources } = await good(one);
    assertEquals(config.MilvaionConfig.Postgres.ReadUrls, urls);
    assertEquals(sources.get("MilvaionConfig.Postgres.ReadUrls")?.value, "********");
    const secrets = secretsOf(config);
    for (const secret of [...urls, "first", "second%2C", "second,"]) {
      assert(secrets.includes(secret), `${secret} is masked`);
    }
  }
  assertEquals((await good({})).sources.get("MilvaionConfig.Postgres.ReadUrls")?.value, []);
  const [alone] = await problems({ env: { DATABASE_READ_URLS: urls.join(",") } });
  assertStringIncludes(alone ?? "", "expected none without MilvaionConfig.Postgres.Url");
  const [wrong] = await problems({
    env: { DATABASE_URL, DATABASE_READ_URLS: "postgres://r1/x,mysql://r2/x" },
  });
  assertStringIncludes(
    wrong ?? "",
    "MilvaionConfig.Postgres.ReadUrls (DATABASE_READ_URLS): got ********, expected a",
  );
});

Deno.test("REDIS_URL takes a server, a Cluster and Sentinel; what is wrong is named, and nothing secret shown", async () => {
  for (
    const url of [
      "redis://:hidden@cache/0",
      "rediss+cluster://:hidden@a:7001,b:7002",
      "redis+sentinel://:hid%40den@a,b,c/main?database=2",
    ]
  ) {
    const { config, sources } = await good({ env: { REDIS_URL: url, REDIS_SENTINEL_PASSWORD: "other" } });
    assertEquals(config.MilvaionConfig.Redis.Url, url);
    assertEquals(sources.get("MilvaionConfig.Redis.Url")?.value, "********");
    const secrets = secretsOf(config);
    for (const secret of [url, url.includes("%") ? "hid@den" : "hidden", "other"]) {
      assert(secrets.includes(secret));
    }
  }
  const wrong = {
    "redis://:hidden@a,b": "Several servers need redis+cluster:// or redis+sentinel://.",
    "redis+sentinel://:hidden@a,b":
      "After the sentinels stands /name: the name by which they know the server.",
    "redis+cluster://:hidden@a:0": "A host is missing, or a port is none from 1 to 65535.",
  };
  for (const [url, hint] of Object.entries(wrong)) {
    const loaded = await load({ env: { REDIS_URL: url } });
    assert(!loaded.ok);
    const [line = ""] = loaded.problems.map(problemLine);
    assertStringIncludes(line, "MilvaionConfig.Redis.Url (REDIS_URL): got ********");
    assertStringIncludes(line, hint);
    assert(!line.includes("hidden"));
  }
});

Deno.test("credentials of sentinels that are not there are warned about, and a user needs a password", async () => {
  const { warnings } = await good({ env: { REDIS_URL: "redis://a", REDIS_SENTINEL_PASSWORD: "other" } });
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0] ?? "", "names no sentinels");
  const loaded = await load({ env: { REDIS_URL: "redis+sentinel://a/main", REDIS_SENTINEL_USER: "me" } });
  assert(!loaded.ok);
  assertEquals(loaded.problems[0]?.field, "MilvaionConfig.Redis.SentinelPassword");
});

Deno.test("AMQP_URL takes the nodes of a cluster; what is wrong with them is said without passwords", async () => {
  const servers = { DATABASE_URL: "postgres://db/x", REDIS_URL: "redis://r" };
  for (const AMQP_URL of ["amqp://me:hidden@a,b:5673,c/v", "amqp://me:hidden@a/v, amqp://me:hidden@b/v"]) {
    const { config } = await good({ env: { ...servers, AMQP_URL } });
    assertEquals(config.MilvaionConfig.RabbitMQ.Url, AMQP_URL);
    assert(secretsOf(config).includes("hidden"));
  }
  const wrong: readonly (readonly [string, string])[] = [
    ["amqp://me:hidden@a,b:x/v", "Address 2 of 2 is no address with a host."],
    ["amqp://me:hidden@a/v,amqp://me:hidden@b/w", "Address 2 of 2 names another path (a virtual host)"],
    ["amqp://me:hidden@a,a/v", "The host a is named twice."],
    ["amqp://me:hidden@a/v,amqps://me:hidden@b/v", "Address 2 of 2 begins with another scheme"],
    ["redis://me:hidden@a/v", "expected an address such as amqp://"],
  ];
  for (const [AMQP_URL, says] of wrong) {
    const [problem = ""] = await problems({ env: { ...servers, AMQP_URL } });
    assertStringIncludes(problem, "MilvaionConfig.RabbitMQ.Url (AMQP_URL): got ********");
    assertStringIncludes(problem, says);
    assert(!problem.includes("hidden"), problem);
  }
});
