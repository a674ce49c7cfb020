/** What the figures were measured on. */
import { DatabaseSync } from "node:sqlite";
import { connect } from "amqplib";
import { Redis } from "ioredis";
import postgres from "postgres";
import { shell } from "../support/processes.ts";
import { SERVERS } from "../support/servers.ts";
import type { Ground } from "./command.ts";

const ROOT = new URL("../../", import.meta.url);

export interface Machine {
  readonly date: string;
  /** Absent where it cannot be had. */
  readonly commit?: string;
  readonly cores: number;
  /** Of the last 1, 5 and 15 minutes, when the first row began. */
  readonly loadAverage: readonly number[];
  readonly versions: Readonly<Record<string, string>>;
}

export async function describeMachine(grounds: ReadonlySet<Ground>): Promise<Machine> {
  const loadAverage = Deno.loadavg();
  const commit = await commitOf().catch(() => null);
  return {
    date: new Date().toISOString(),
    ...(commit === null ? {} : { commit }),
    cores: navigator.hardwareConcurrency,
    loadAverage,
    versions: {
      milvaion: JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT))).version,
      deno: Deno.version.deno,
      ...(grounds.has("embedded") ? { sqlite: sqliteVersion() } : {}),
      ...(grounds.has("cluster") ? await serverVersions() : {}),
    },
  };
}

/** With a plus when something is not committed. */
function commitOf(): Promise<string> {
  return shell(
    `cd "$1" && printf '%s' "$(git rev-parse --verify HEAD)" && { [ -z "$(git status --porcelain)" ] || printf '+'; }`,
    ROOT.pathname,
  );
}

function sqliteVersion(): string {
  const database = new DatabaseSync(":memory:");
  try {
    return String(database.prepare("SELECT sqlite_version() AS version").get()?.["version"]);
  } finally {
    database.close();
  }
}

/** Throws when one of them cannot be reached: then no row of a cluster can be measured. */
async function serverVersions(): Promise<Record<string, string>> {
  const sql = postgres(SERVERS.postgres, { max: 1, database: "postgres" });
  const redis = new Redis(SERVERS.redis, { maxRetriesPerRequest: 1, retryStrategy: null });
  try {
    const [row] = await sql`SHOW server_version`;
    const about = await redis.info("server");
    const broker = await connect(SERVERS.amqp);
    const properties = broker.connection.serverProperties;
    await broker.close();
    return {
      postgres: String(row?.["server_version"]),
      redis: /^redis_version:(.*?)\r?$/m.exec(about)?.[1] ?? "",
      rabbitmq: String(properties.version),
    };
  } finally {
    redis.disconnect();
    await sql.end();
  }
}
