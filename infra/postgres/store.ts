/**
 * The store of a cluster: PostgreSQL behind the same ports as the embedded one. What each failure does is told in the
 * folder's README.
 */
import type { Attempts, Results } from "../../actors/ports/attempts.ts";
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { Reader } from "../../actors/ports/reads.ts";
import type { Store } from "../../actors/ports/store.ts";
import { PostgresAlerts } from "./alerts.ts";
import { PostgresAttempts } from "./attempts.ts";
import { PostgresBulkActions } from "./bulk_actions.ts";
import { Chores } from "./chores.ts";
import { Completions } from "./completions.ts";
import { foldCounts } from "./counters.ts";
import { type ConnectionOptions, Database, openingFault } from "./database.ts";
import { Epochs } from "./epochs.ts";
import { PostgresFailedOccurrences } from "./failed_occurrences.ts";
import { PostgresError } from "./fault.ts";
import { PostgresHistory } from "./history.ts";
import { JobMessages } from "./job_messages.ts";
import { JobRows } from "./job_rows.ts";
import { PostgresLedger } from "./ledger.ts";
import { PostgresLineStore } from "./line_store.ts";
import { migrate, requireSchema } from "./migration.ts";
import { PostgresOutcomes } from "./outcomes.ts";
import { PostgresOversight } from "./oversight.ts";
import { Partitions } from "./partitions.ts";
import { Published } from "./published.ts";
import { RecoveryRows } from "./recovery_rows.ts";
import { Replicas } from "./replicas.ts";
import { PostgresRetention } from "./retention.ts";
import { InstanceBook, TermsBook } from "./terms.ts";
import { PostgresFacts } from "./facts.ts";
import {
  type PostgresLoad,
  readPostgresLoad,
  readStatementTexts,
  readStatementTotals,
  type StatementTotals,
} from "./server_load.ts";
import { Triggers } from "./triggers.ts";
import { CLAIMED_JOB_DATA, KEEP_RESULT } from "./worker_role.ts";
import { PostgresWorkload } from "./workload.ts";
import { systemClock } from "../clock.ts";
import { soleCopy } from "../sole_copy.ts";

export interface PostgresStoreOptions extends ConnectionOptions {
  /** The program's clock; deadlines go by the machine's. */
  readonly clock: Clock;
  readonly random: Random;
  /** Whether to bring the schema up to date first; without it, an older one is an error. */
  readonly migrate: boolean;
  /** Where lists may be read from. */
  readonly replicas?: {
    readonly urls: readonly string[];
    /** One that lags longer is not read from. */
    readonly maxLagSeconds: number;
  };
}

export interface PostgresStore {
  readonly store: Store;
  readonly attempts: Attempts & Results;
  /** `host:port/database`, for sentences. */
  readonly name: string;
  /**
   * What time the server's clock says, epoch milliseconds with their fraction. Only to measure this machine's clock
   * by: nothing of it is stored.
   */
  databaseTime(): Promise<number>;
  /** What the server says of its load. */
  load(): Promise<PostgresLoad>;
  /** Null where it does not count statements. */
  statementTotals(): Promise<readonly StatementTotals[] | null>;
  statementTexts(ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

/** What a worker needs of the database: the right to claim and renew, and whose store it is. */
export interface PostgresAttemptsOnly {
  readonly attempts: Attempts & Results;
  readonly storeId: string;
  readonly name: string;
  databaseTime(): Promise<number>;
  close(): Promise<void>;
}

const FOLD_EVERY_MS = 5000;
const MARK_EVERY_MS = 3000;
const PARTITIONS_EVERY_MS = 3_600_000;

/** Connects, and brings the schema up to date when asked to. Throws `PostgresError` with a sentence for people. */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<PostgresStore> {
  const database = new Database(options);
  try {
    if (options.migrate) await migrate(database, options.clock.now());
    await requireSchema(database);
    return await assemble(database, options);
  } catch (error) {
    await database.close();
    throw openingFault(database.name, error);
  }
}

/** For a worker whose role may only claim and renew. Migrates nothing. Throws `PostgresError`. */
export async function openPostgresAttempts(
  options: ConnectionOptions & { readonly clock: Clock },
): Promise<PostgresAttemptsOnly> {
  const database = new Database(options);
  try {
    await requireSchema(database);
    const [row] = await database.call("read the store's id", readStoreId);
    if (row === undefined) {
      throw new PostgresError(
        "schema_version",
        `${database.name} holds no store yet: start an API instance first`,
      );
    }
    await warnOfOldRole(database);
    return {
      attempts: new PostgresAttempts(database, new InstanceBook(), options.clock),
      storeId: String(row[0]),
      name: database.name,
      databaseTime: () => databaseTime(database),
      close: () => database.close(),
    };
  } catch (error) {
    await database.close();
    throw openingFault(database.name, error);
  }
}

/** A role that got its rights from an older program claims all but what comes without job data. */
async function warnOfOldRole(database: Database): Promise<void> {
  const [row] = await database.call("read what this role may do", (session) =>
    session.rows(
      `SELECT current_user::text, has_function_privilege(to_regprocedure('${CLAIMED_JOB_DATA}'), 'EXECUTE')
         AND has_function_privilege(to_regprocedure('${KEEP_RESULT}'), 'EXECUTE')`,
    ));
  if (row?.[1] === true) return;
  database.options.log.warn(
    `${database.name}: the role ${row?.[0]} cannot claim runs with large job data. ` +
      `Run: migrate --worker-role ${row?.[0]}`,
  );
}

async function assemble(database: Database, options: PostgresStoreOptions): Promise<PostgresStore> {
  const { clock, log } = options;
  const storeId = await ensureStoreId(database, options.random.uuid());
  const partitions = new Partitions(database, clock, log);
  await partitions.readyAhead();
  const terms = new TermsBook();
  const messages = new JobMessages(terms);
  const jobs = new JobRows(database, clock);
  await jobs.finishRemovals();
  const published = new Published(database, clock, log);
  const outcomes = new PostgresOutcomes({
    database,
    terms,
    messages,
    published,
    triggers: new Triggers(database, partitions, terms, messages),
    completions: new Completions(database, terms),
  });
  const epochs = new Epochs(database);
  const chores = new Chores(systemClock, log);
  chores.every(FOLD_EVERY_MS, () => foldCounts(database));
  chores.every(MARK_EVERY_MS, () => published.flush());
  chores.every(PARTITIONS_EVERY_MS, () => partitions.readyAhead());
  const history = new PostgresHistory(database, terms);
  const lines = new PostgresLineStore(database, partitions);
  const replicas = replicasOf(database, storeId, options, (copy) => ({
    jobs: new JobRows(copy, clock),
    history: new PostgresHistory(copy, terms),
    lines: new PostgresLineStore(copy, partitions),
    workload: new PostgresWorkload(copy),
  }));
  let closing: Promise<void> | null = null;
  const store: Store = {
    jobs,
    outcomes,
    ledger: new PostgresLedger({
      database,
      epochs,
      jobs,
      messages,
      outcomes,
      partitions,
      recovery: new RecoveryRows(database, messages, terms),
      terms,
    }),
    history,
    lines,
    oversight: new PostgresOversight(database),
    alerts: new PostgresAlerts(database),
    reads: replicas ?? soleCopy({ jobs, history, lines, workload: new PostgresWorkload(database) }),
    retention: new PostgresRetention(database, epochs, log),
    failed: new PostgresFailedOccurrences({ database, partitions, terms, messages }),
    bulk: new PostgresBulkActions({ database, epochs, outcomes, partitions, terms }),
    facts: new PostgresFacts(database),
    storeId,
    check: (deadlineMs) => check(database, clock.now(), deadlineMs),
    close: () =>
      closing ??= (async () => {
        await chores.stop();
        await replicas?.close();
        await published.flush();
        await database.close();
      })(),
  };
  return {
    store,
    attempts: new PostgresAttempts(database, new InstanceBook(), clock),
    name: database.name,
    databaseTime: () => databaseTime(database),
    load: () => readPostgresLoad(database),
    statementTotals: () => readStatementTotals(database),
    statementTexts: (ids) => readStatementTexts(database, ids),
  };
}

/** Null without replicas: then no write asks for its position. */
function replicasOf(
  primary: Database,
  storeId: string,
  options: PostgresStoreOptions,
  readerOf: (database: Database) => Reader,
): Replicas | null {
  const { replicas } = options;
  if (replicas === undefined || replicas.urls.length === 0) return null;
  const { meter: _, ...connection } = options;
  return new Replicas({ ...connection, ...replicas, primary, storeId, readerOf });
}

async function ensureStoreId(database: Database, fresh: string): Promise<string> {
  const [row] = await database.call("read the store's id", async (session) => {
    await session.rows(
      "INSERT INTO facts (name, value) VALUES ('storeId', $1::text) ON CONFLICT (name) DO NOTHING",
      [fresh],
    );
    return await readStoreId(session);
  });
  return String(row?.[0]);
}

function readStoreId(session: Parameters<Parameters<Database["call"]>[1]>[0]) {
  return session.rows("SELECT value FROM facts WHERE name = 'storeId'");
}

async function databaseTime(database: Database): Promise<number> {
  const [row] = await database.call(
    "read the server's clock",
    (session) => session.rows("SELECT date_part('epoch', clock_timestamp()) * 1000"),
  );
  return Number(row?.[0]);
}

/** Writes a row, so that a server that only reads is seen. */
async function check(database: Database, now: number, deadlineMs: number): Promise<void> {
  const written = database.call("check the store", (session) =>
    session.rows(
      `INSERT INTO facts (name, value) VALUES ('checkedAt', $1::text)
       ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
      [String(now)],
    ));
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = systemClock.timer(
      deadlineMs,
      () => reject(new Error(`Cannot check the store: no answer within ${deadlineMs} ms`)),
    );
  });
  try {
    await Promise.race([written, late]);
  } finally {
    cancel();
    written.catch(() => {});
  }
}
