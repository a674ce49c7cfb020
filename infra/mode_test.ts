import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { good } from "../tests/support/given_config.ts";
import { describeMode } from "./mode.ts";

Deno.test("a command runs embedded without servers, on a cluster with them, and says which are missing", async () => {
  const servers = {
    DATABASE_URL: "postgres://me:secret@db/x",
    REDIS_URL: "rediss://:secret@cache:6380/0",
    AMQP_URL: "amqp://me:secret@broker/",
  };
  const modeOf = async (env: Record<string, string>, command: "run" | "api" | "worker") => {
    const mode = describeMode((await good({ env })).config, command);
    return mode.ok ? mode.mode : mode.message;
  };
  assertEquals(await modeOf({}, "run"), "embedded");
  for (const command of ["run", "api", "worker"] as const) {
    assertEquals(await modeOf(servers, command), "cluster");
  }
  const { DATABASE_URL: _, ...withoutDatabase } = servers;
  assertEquals(await modeOf(withoutDatabase, "worker"), "cluster", "a worker can claim through RabbitMQ");
  assertStringIncludes(await modeOf({}, "api"), "needs DATABASE_URL, REDIS_URL, AMQP_URL");
  assertStringIncludes(await modeOf({}, "worker"), "needs REDIS_URL, AMQP_URL");
  for (const command of ["run", "api"] as const) {
    const message = await modeOf(withoutDatabase, command);
    assertStringIncludes(message, "on REDIS_URL and AMQP_URL also needs DATABASE_URL");
    assert(!message.includes("secret"));
  }
});
