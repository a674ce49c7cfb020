/** `milvaion migrate` on PostgreSQL: the schema, an embedded store that moves in, a role for workers. */
import type { Clock } from "../actors/ports/clock.ts";
import type { Log } from "../actors/ports/log.ts";
import { ServerError } from "./await_server.ts";
import type { Config } from "./config_schema.ts";
import { PostgresError } from "./postgres/fault.ts";
import { importEmbedded, type ImportProgress } from "./postgres/import_embedded.ts";
import { migratePostgres } from "./postgres/migration.ts";
import { grantWorker } from "./postgres/worker_role.ts";

const SAY_EVERY_MS = 3000;

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
  readonly log: Log;
}

/** Gives what was done, or would be, in sentences. Throws ServerError, or DataFolderError about the folder. */
export async function migrateDatabase(options: MigrateDatabase): Promise<string> {
  const { url, config, log, clock, dryRun, from, workerRole } = options;
  const { PreparedStatements: prepare } = config.MilvaionConfig.Postgres;
  const connection = { url, maxConnections: 2, prepare, log };
  const sentences: string[] = [];
  try {
    sentences.push(await migratePostgres(connection, { dryRun, now: clock.now() }));
    if (from !== null) {
      sentences.push(
        dryRun
          ? `${from} would move there; --from copies, and leaves the folder as it is`
          : await importEmbedded({ ...connection, folder: from, clock, onProgress: progressTo(log, clock) }),
      );
    }
    if (workerRole !== null) sentences.push(await grantWorker(connection, workerRole, { dryRun }));
    return sentences.join("\n");
  } catch (error) {
    if (error instanceof PostgresError) throw new ServerError(error.message, { cause: error });
    throw error;
  }
}

/** Says how far it is at each new table, and every few seconds within one. */
function progressTo(log: Log, clock: Clock): (progress: ImportProgress) => void {
  let table = "";
  let saidAt = -Infinity;
  return (progress) => {
    if (progress.table === table && clock.mono() - saidAt < SAY_EVERY_MS) return;
    table = progress.table;
    saidAt = clock.mono();
    log.info("Moving", { table, rows: `${progress.done} of ${progress.total}` });
  };
}
