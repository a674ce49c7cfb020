/** What a command runs on: the embedded store, or the servers of a cluster. */
import type { Config } from "./config_schema.ts";

/** The addresses of the servers; they hold passwords and are never printed. */
export interface ClusterUrls {
  /** Null on a worker without a database of its own: it then claims through RabbitMQ. */
  readonly database: string | null;
  readonly redis: string;
  readonly amqp: string;
}

/** The mode that a command runs in, or why it cannot. */
export type Mode =
  | { readonly ok: true; readonly mode: "embedded" }
  | { readonly ok: true; readonly mode: "cluster"; readonly urls: ClusterUrls }
  /** Exit 78: the message says what to change. */
  | { readonly ok: false; readonly message: string };

/** What `command` would run on as configured. Servers that are named but would not be used are refused. */
export function describeMode(config: Config, command: "run" | "api" | "worker"): Mode {
  const { Postgres, Redis, RabbitMQ } = config.MilvaionConfig;
  const database = Postgres.Url;
  const redis = Redis.Url;
  const amqp = RabbitMQ.Url;
  if (redis !== null && amqp !== null && (database !== null || command === "worker")) {
    return { ok: true, mode: "cluster", urls: { database, redis, amqp } };
  }
  const all = [["DATABASE_URL", database], ["REDIS_URL", redis], ["AMQP_URL", amqp]] as const;
  const named = all.flatMap(([name, url]) => url === null ? [] : [name]);
  const missing = all.flatMap(([name, url]) =>
    url !== null || (name === "DATABASE_URL" && command === "worker") ? [] : [name]
  );
  if (named.length > 0) {
    return {
      ok: false,
      message: `\`${command}\` on ${named.join(" and ")} also needs ${missing.join(" and ")}. ` +
        (command === "run"
          ? "With none of the three it keeps everything in one process and one folder."
          : ""),
    };
  }
  if (command === "run") return { ok: true, mode: "embedded" };
  return {
    ok: false,
    message: `\`${command}\` is a part of a cluster and needs ${missing.join(", ")}. ` +
      "`run` is API, leader and worker in one process and needs nothing.",
  };
}
