import { assert, assertEquals, assertThrows } from "@std/assert";
import { describeRedis, parseRedisUrl } from "./address.ts";

Deno.test("a Redis address names one server, nodes of a cluster, or sentinels and a name", () => {
  const nothing = { user: null, password: null, database: 0, masterName: null, isEncrypted: false };
  assertEquals(parseRedisUrl("redis://cache"), {
    ...nothing,
    mode: "single",
    endpoints: [{ host: "cache", port: 6379 }],
  });
  assertEquals(parseRedisUrl("rediss://user:p%40ss:word@[::1]:7000/3"), {
    mode: "single",
    isEncrypted: true,
    endpoints: [{ host: "::1", port: 7000 }],
    user: "user",
    password: "p@ss:word",
    database: 3,
    masterName: null,
  });
  assertEquals(parseRedisUrl("redis+cluster://:secret@a:7001, b:7002,c"), {
    ...nothing,
    mode: "cluster",
    password: "secret",
    endpoints: [{ host: "a", port: 7001 }, { host: "b", port: 7002 }, { host: "c", port: 6379 }],
  });
  assertEquals(parseRedisUrl("rediss+sentinel://s1,s2:26380/my-master?database=2"), {
    ...nothing,
    mode: "sentinel",
    isEncrypted: true,
    endpoints: [{ host: "s1", port: 26379 }, { host: "s2", port: 26380 }],
    database: 2,
    masterName: "my-master",
  });
});

Deno.test("a Redis address that cannot be used says why, and never what it was", () => {
  const refusals = {
    "redis+cluster:/a-secret": "begins with none of",
    "redis+ring://:a-secret@a": "begins with none of",
    "postgres://:a-secret@a": "begins with none of",
    "redis://:a-secret@a,b": "Several servers need",
    "redis://:a-secret@": "host is missing",
    "redis+cluster://:a-secret@a:7001,": "host is missing",
    "redis+cluster://:a-secret@a:70001": "port is none",
    "redis+cluster://:a-secret@a/1": "database 0 only",
    "redis://:a-secret@a/x": "database is no number",
    "redis://:a-secret@a?database=1": "question mark",
    "redis+sentinel://:a-secret@a": "stands /name",
    "redis+sentinel://:a-secret@a/m?db=1": "?database=",
  };
  for (const [text, message] of Object.entries(refusals)) {
    const error = assertThrows(() => parseRedisUrl(text), Error, message);
    assert(!error.message.includes("a-secret"), error.message);
  }
});

Deno.test("a Redis address is shown without credentials", () => {
  const shown = [
    "redis://u:secret@cache/1",
    "redis+cluster://u:secret@a:7001,[::1]:7002",
    "rediss+sentinel://u:secret@a,b/main",
  ].map((text) => describeRedis(parseRedisUrl(text)));
  assertEquals(shown, ["cache:6379", "Cluster a:7001, [::1]:7002", "main by Sentinel a:26379, b:26379"]);
});
