/** `milvaion migrate`: brings the store that is configured up to this version. */
import type { Clock } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";
import type { MigrateOrder } from "./command_line.ts";
import type { Config } from "./config_schema.ts";
import { migrateEmbeddedStore } from "./embedded/store.ts";
import { migrateDatabase } from "./migrate_database.ts";

/** In sentences, what was done or why nothing can be. Throws ServerError and DataFolderError. */
export async function migrate(
  order: MigrateOrder,
  { config, clock, log }: { readonly config: Config; readonly clock: Clock; readonly log: Log },
): Promise<{ readonly ok: boolean; readonly message: string }> {
  const { DataDir, Postgres: { Url: url } } = config.MilvaionConfig;
  if (url !== null) {
    return { ok: true, message: await migrateDatabase({ ...order, config, url, clock, log }) };
  }
  const { dryRun, from, workerRole } = order;
  if (from !== null || workerRole !== null) {
    const option = from === null ? "--worker-role" : "--from";
    return { ok: false, message: `${option} concerns PostgreSQL: set DATABASE_URL to say where` };
  }
  return { ok: true, message: await migrateEmbeddedStore(DataDir, { dryRun }) };
}
