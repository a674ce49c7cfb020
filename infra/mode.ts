/** What this build can be: embedded only. Goes away with the adapters of a cluster. */
import type { Config } from "./config_schema.ts";

/** The mode that a command runs in, or why it cannot. */
export type Mode =
  | { readonly ok: true; readonly mode: "embedded" }
  /** Exit 78: the message says what to change. */
  | { readonly ok: false; readonly message: string };

/** Whether a command can run on what is configured. Servers that are named but would not be used are refused. */
export function describeMode(config: Config, command: "run" | "api" | "worker" | "migrate"): Mode {
  const { Postgres, Redis, RabbitMQ } = config.MilvaionConfig;
  const servers = [
    ["DATABASE_URL", Postgres.Url],
    ["REDIS_URL", Redis.Url],
    ["AMQP_URL", RabbitMQ.Url],
  ].flatMap(([name, url]) => url === null ? [] : [name]);
  if (servers.length > 0) {
    return {
      ok: false,
      message: `This build has the embedded mode only and would not use ${servers.join(", ")}. ` +
        "Unset it to keep everything in one process and one folder.",
    };
  }
  if (command === "api" || command === "worker") {
    return {
      ok: false,
      message: `\`${command}\` is a part of a cluster: it needs PostgreSQL, Redis and RabbitMQ, ` +
        "and this build has the embedded mode only. `run` is API, leader and worker in one process.",
    };
  }
  return { ok: true, mode: "embedded" };
}
