/** What the servers say of their disks: the guide's "check infrastructure capacity (connections, disk)". */
import { statfsSync } from "node:fs";
import { type Finding, ok, unknown, warning } from "./check.ts";
import type { PostgresProbe } from "./postgres.ts";

const GIB = 1024 ** 3;
/** Below, a day of history of a busy installation may not fit. */
const FEW_BYTES = 5 * GIB;

/** The size of the database; what is free beside it only where its folder can be seen from here. */
export async function postgresDisk(probe: PostgresProbe): Promise<Finding> {
  const { size } = await probe.row("SELECT pg_database_size(current_database())::float8 AS size");
  const words = `The database takes ${gib(Number(size))} GiB`;
  const free = await freeBeside(probe);
  if (free === null) {
    return unknown(
      `${words}; what is free cannot be seen from here.`,
      "On its server: df -h <data_directory>",
    );
  }
  const all = `${words}, and ${gib(free)} GiB are free beside it.`;
  // As much again as there is leaves room for the next doubling.
  if (free >= Math.max(FEW_BYTES, Number(size))) return ok(all);
  return warning(all, "Larger storage, or shorter history: MilvaionConfig.Retention.CompletedDays.");
}

/** Null where the folder is on another machine, or not for this role or user to see. */
async function freeBeside(probe: PostgresProbe): Promise<number | null> {
  try {
    const { folder, local } = await probe.row(
      `SELECT current_setting('data_directory') AS folder,
              coalesce(host(inet_server_addr()) IN ('127.0.0.1', '::1'), true) AS local`,
    );
    if (local !== true) return null;
    const { bavail, bsize } = statfsSync(String(folder));
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** Redis tells whether its last writes to the disk went well, not what is free. */
export function redisDisk(info: (name: string) => string | null): Finding {
  const aof = info("aof_last_write_status");
  const snapshot = info("rdb_last_bgsave_status");
  if (aof === null && snapshot === null) {
    return unknown("Redis does not say how its last writes to the disk went.");
  }
  if (aof !== "err" && snapshot !== "err") return ok("The last writes of Redis to its disk went well.");
  return warning(
    `The last write of Redis to its disk failed (${aof === "err" ? "appendonly" : "snapshot"}).`,
    "df -h on its server; redis-cli info persistence.",
  );
}

/** Nearer to `maxmemory` than a doubling allows; without one, the machine is the limit. */
export function redisRoom(info: (name: string) => string | null): Finding {
  const used = Number(info("used_memory"));
  const most = Number(info("maxmemory") ?? 0);
  if (most === 0) {
    return ok(
      `Redis uses ${Math.ceil(used / 1024 / 1024)} MiB; maxmemory sets no limit below the machine's.`,
    );
  }
  const words = `Redis uses ${Math.ceil(used / 1024 / 1024)} of ${
    Math.round(most / 1024 / 1024)
  } MiB (maxmemory)`;
  if (used < most / 2) return ok(`${words}.`);
  return warning(`${words}: twice as many scheduled jobs do not fit.`, "redis-cli config set maxmemory 4gb");
}

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(bytes < GIB ? 2 : 1);
}
