/**
 * The embedded store: `node:sqlite` in one locked folder, behind the same ports as PostgreSQL.
 * What each failure does is told in the folder's README.
 */
import { FailingJobs } from "./failing_jobs.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Alerts } from "../../actors/ports/alerts.ts";
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { BulkActions } from "../../actors/ports/bulk_actions.ts";
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { Facts } from "../../actors/ports/facts.ts";
import type { FailedOccurrences } from "../../actors/ports/failed_occurrences.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Meter } from "../../actors/ports/meter.ts";
import type { Oversight } from "../../actors/ports/oversight.ts";
import type { Reader, Reads } from "../../actors/ports/reads.ts";
import type { Retention } from "../../actors/ports/retention.ts";
import type { History, JobStore, Ledger, LineStore, Outcomes, Store } from "../../actors/ports/store.ts";
import { EmbeddedAlerts } from "./alerts.ts";
import { EmbeddedAttempts } from "./attempts.ts";
import { EmbeddedBulkActions } from "./bulk_actions.ts";
import { Counters } from "./counters.ts";
import { type DataFolder, lockDataFolder } from "./data_folder.ts";
import { type Database, type Migration, openDatabase, schemaVersion, type Statement } from "./database.ts";
import { Epochs } from "./epochs.ts";
import { EmbeddedFailedOccurrences } from "./failed_occurrences.ts";
import { EmbeddedFacts } from "./facts.ts";
import { FailedRows } from "./failed_rows.ts";
import { GroupCommit } from "./group_commit.ts";
import { EmbeddedHistory } from "./history.ts";
import { IdempotencyKeys } from "./idempotency_keys.ts";
import { JobHold } from "./job_hold.ts";
import { JobMessages } from "./job_messages.ts";
import { JobRows } from "./job_rows.ts";
import { EmbeddedLedger } from "./ledger.ts";
import { EmbeddedLineStore } from "./line_store.ts";
import { NewOccurrences } from "./new_occurrences.ts";
import { OccurrenceRows } from "./occurrence_rows.ts";
import { EmbeddedOutcomes } from "./outcomes.ts";
import { EmbeddedOversight } from "./oversight.ts";
import { measured, type Pace, REAL_PACE } from "./pace.ts";
import { RangeRows } from "./range_rows.ts";
import { RecoveryRows } from "./recovery_rows.ts";
import { Removal } from "./removal.ts";
import { EmbeddedRetention } from "./retention.ts";
import { Replays } from "./replays.ts";
import { LOG_MIGRATIONS, STORE_MIGRATIONS } from "./schema.ts";
import { TermsBook } from "./terms.ts";
import { Triggers } from "./triggers.ts";
import { EmbeddedWorkload } from "./workload.ts";
import { soleCopy } from "../sole_copy.ts";

export interface EmbeddedStoreOptions {
  /** Created when it is missing; locked until `close`. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Left out: the event loop and the disk of this machine. */
  readonly pace?: Pace;
  /** Told how long each sync took. */
  readonly meter?: Pick<Meter, "observe">;
}

export interface EmbeddedStore {
  readonly store: Store;
  readonly attempts: Attempts;
  /** Absolute path of the data folder. */
  readonly folder: string;
}

const FILES: readonly (readonly [name: string, migrations: readonly Migration[]])[] = [
  ["milvaion.db", STORE_MIGRATIONS],
  ["logs.db", LOG_MIGRATIONS],
];

/**
 * Brings the files of a folder to the schema of this program, or only says what that would do. Gives a sentence a
 * file. Throws `DataFolderError`.
 */
export function migrateEmbeddedStore(folder: string, options: { readonly dryRun: boolean }): string {
  // A dry run creates nothing, not even the folder.
  if (options.dryRun && !existsSync(folder)) {
    return `${folder} does not exist: it would be created with the newest schema`;
  }
  const locked = lockDataFolder(folder);
  try {
    const sentences = FILES.map(([name, migrations]) => {
      const path = join(locked.path, name);
      const version = existsSync(path) ? schemaVersion(path) : 0;
      if (!options.dryRun) openDatabase(path, migrations).close();
      if (version === migrations.length) return `${name}: schema version ${version} is the newest`;
      const verb = options.dryRun ? "would be brought" : "brought";
      return `${name}: ${verb} from schema version ${version} to ${migrations.length}`;
    });
    return sentences.join("\n");
  } finally {
    locked.release();
  }
}

/** Opens the data folder for this process alone. Throws `DataFolderError` with a sentence for people. */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  const folder = lockDataFolder(options.folder);
  const opened: Database[] = [];
  try {
    for (const [name, migrations] of FILES) opened.push(openDatabase(join(folder.path, name), migrations));
    const [main, logs] = opened;
    if (main === undefined || logs === undefined) throw new Error("A file of the store is not listed");
    return await assemble(options, folder, main, logs);
  } catch (error) {
    for (const database of opened) database.close();
    folder.release();
    throw error;
  }
}

async function assemble(
  options: EmbeddedStoreOptions,
  folder: DataFolder,
  main: Database,
  logs: Database,
): Promise<EmbeddedStore> {
  const { clock, random, log, meter } = options;
  const pace = meter === undefined ? options.pace : measured(options.pace ?? REAL_PACE, meter);
  const counters = new Counters(main);
  const terms = new TermsBook(main);
  const messages = new JobMessages(terms);
  const hold = new JobHold(main, messages);
  const occurrences = new NewOccurrences(main, hold, messages, counters);
  const rows = new OccurrenceRows(main, messages, terms, counters);
  const failing = new FailingJobs(main);
  const group = new GroupCommit(main, [counters, terms, occurrences, failing], pace);
  const lineGroup = new GroupCommit(logs, [], pace);
  const lines = new EmbeddedLineStore(logs, lineGroup);
  const ranges = new RangeRows(main);
  const removeLines = (ids: readonly string[]) => lines.remove(ids);
  const jobs = new JobRows(main, group, counters, clock, hold, failing, removeLines);
  const epochs = new Epochs(main);
  const keys = new IdempotencyKeys(main);
  const triggers = new Triggers(main, keys, jobs, hold, occurrences, terms, failing);
  const failedRows = new FailedRows(main, lines);
  const replays = new Replays({ failed: failedRows, jobs, hold, occurrences, terms });
  const outcomes = new EmbeddedOutcomes(main, group, rows, hold, triggers, failedRows, failing);
  const ledger = new EmbeddedLedger({
    group,
    epochs,
    failing,
    jobs,
    occurrences,
    recovery: new RecoveryRows(main, messages, terms),
    ranges,
    terms,
    outcomes,
  });
  const retention = new EmbeddedRetention(main, {
    group,
    epochs,
    removal: new Removal(main, counters),
    removeLines,
  });
  const history = new EmbeddedHistory(main, group, terms, ranges, counters, hold, failedRows);
  const failed = new EmbeddedFailedOccurrences(group, failedRows, replays, keys);
  const bulk = new EmbeddedBulkActions({
    database: main,
    group,
    epochs,
    replays,
    outcomes,
    failed: failedRows,
    keys,
  });
  const oversight = new EmbeddedOversight(main, group);
  const alerts = new EmbeddedAlerts(main, group);
  const storeId = await group.write(() => readStoreId(main, random));
  await jobs.finishRemovals();
  const store = new EmbeddedStoreParts({
    jobs,
    ledger,
    outcomes,
    history,
    lines,
    oversight,
    alerts,
    retention,
    failed,
    bulk,
    facts: new EmbeddedFacts(main, group),
    storeId,
    workload: new EmbeddedWorkload(main, group, terms),
  }, {
    folder,
    clock,
    log,
    files: [{ database: main, group }, { database: logs, group: lineGroup }],
  });
  return { store, attempts: new EmbeddedAttempts(group, rows, terms, clock), folder: folder.path };
}

function readStoreId(main: Database, random: Random): string {
  const known = main.prepare("SELECT value FROM facts WHERE name = 'storeId'").row()?.[0];
  if (typeof known === "string") return known;
  const storeId = random.uuid();
  main.prepare("INSERT INTO facts (name, value) VALUES ('storeId', ?)").execute(storeId);
  return storeId;
}

interface OpenFile {
  readonly database: Database;
  readonly group: GroupCommit;
}

type Ports = Omit<Store, "reads" | "check" | "close"> & Pick<Reader, "workload">;

class EmbeddedStoreParts implements Store {
  readonly jobs: JobStore;
  readonly ledger: Ledger;
  readonly outcomes: Outcomes;
  readonly history: History;
  readonly lines: LineStore;
  readonly oversight: Oversight;
  readonly alerts: Alerts;
  readonly reads: Reads;
  readonly retention: Retention;
  readonly failed: FailedOccurrences;
  readonly bulk: BulkActions;
  readonly facts: Facts;
  readonly storeId: string;
  readonly #probes: readonly { readonly group: GroupCommit; readonly statement: Statement }[];
  #closing: Promise<void> | null = null;

  constructor(
    ports: Ports,
    private readonly parts: {
      readonly folder: DataFolder;
      readonly clock: Clock;
      readonly log: Log;
      readonly files: readonly OpenFile[];
    },
  ) {
    this.jobs = ports.jobs;
    this.ledger = ports.ledger;
    this.outcomes = ports.outcomes;
    this.history = ports.history;
    this.lines = ports.lines;
    this.oversight = ports.oversight;
    this.alerts = ports.alerts;
    this.reads = soleCopy(ports);
    this.retention = ports.retention;
    this.failed = ports.failed;
    this.bulk = ports.bulk;
    this.facts = ports.facts;
    this.storeId = ports.storeId;
    this.#probes = parts.files.map(({ database, group }) => ({
      group,
      statement: database.prepare(
        "INSERT INTO facts (name, value) VALUES ('checkedAt', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      ),
    }));
  }

  /** Writes a row into each file, so that a full disk is seen. */
  async check(deadlineMs: number): Promise<void> {
    const { clock } = this.parts;
    const now = clock.now();
    const written = Promise.all(
      this.#probes.map(({ group, statement }) => group.write(() => statement.execute(String(now)))),
    );
    let cancel = () => {};
    const late = new Promise<never>((_, reject) => {
      cancel = clock.timer(
        deadlineMs,
        () => reject(new Error(`Cannot check the store: no answer within ${deadlineMs} ms`)),
      );
    });
    try {
      await Promise.race([written, late]);
    } finally {
      cancel();
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.all(this.parts.files.map(({ group }) => group.close()));
    for (const { database } of this.parts.files) {
      try {
        database.close();
      } catch (error) {
        // What is committed is in the write-ahead log and is read at the next start.
        this.parts.log.warn(`Cannot close ${database.path}: ${(error as Error).message}`);
      }
    }
    this.parts.folder.release();
  }
}
