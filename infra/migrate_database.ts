/** `milvaion migrate` on PostgreSQL: the schema, an embedded store that moves in, a role for workers. */
import type { Clock, Random } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";
import { ServerError } from "./await_server.ts";
import type { Config } from "./config_schema.ts";
import { PostgresError } from "./postgres/fault.ts";
import { migratePostgres } from "./postgres/migration.ts";

export interface MigrateDatabase {
  readonly config: Config;
  /** Address of the database. */
  readonly url: string;
  readonly dryRun: boolean;
  /** Data folder of an embedded store that moves into the database, which must be empty. */
  readonly from: string | null;
  /** Role that may claim and renew, and nothing else. */
  readonly workerRole: string | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Gives what was done in sentences. Throws ServerError. */
export async function migrateDatabase(options: MigrateDatabase): Promise<string> {
  const { url, config, log, clock, dryRun } = options;
  const { PreparedStatements: prepare } = config.MilvaionConfig.Postgres;
  try {
    return await migratePostgres({ url, maxConnections: 1, prepare, log }, { dryRun, now: clock.now() });
  } catch (error) {
    if (error instanceof PostgresError) throw new ServerError(error.message, { cause: error });
    throw error;
  }
}
