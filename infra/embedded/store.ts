/**
 * The embedded store: `node:sqlite` in one locked folder, behind the same ports as PostgreSQL.
 * What each failure does is told in the folder's README.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { History, JobStore, Ledger, LineStore, Outcomes, Store } from "../../actors/ports/store.ts";
import { EmbeddedAttempts } from "./attempts.ts";
import { Counters } from "./counters.ts";
import { type DataFolder, lockDataFolder } from "./data_folder.ts";
import { type Database, type Migration, openDatabase, schemaVersion, type Statement } from "./database.ts";
import { Epochs } from "./epochs.ts";
import { GroupCommit } from "./group_commit.ts";
import { EmbeddedHistory } from "./history.ts";
import { JobHold } from "./job_hold.ts";
import { JobMessages } from "./job_messages.ts";
import { JobRows } from "./job_rows.ts";
import { EmbeddedLedger } from "./ledger.ts";
import { EmbeddedLineStore } from "./line_store.ts";
import { NewOccurrences } from "./new_occurrences.ts";
import { OccurrenceRows } from "./occurrence_rows.ts";
import { EmbeddedOutcomes } from "./outcomes.ts";
import { RangeRows } from "./range_rows.ts";
import { RecoveryRows } from "./recovery_rows.ts";
import { LOG_MIGRATIONS, STORE_MIGRATIONS } from "./schema.ts";
import { TermsBook } from "./terms.ts";
import { Triggers } from "./triggers.ts";

export interface EmbeddedStoreOptions {
  /** Created when it is missing; locked until `close`. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
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
  const { clock, random, log } = options;
  const counters = new Counters(main);
  const terms = new TermsBook(main);
  const messages = new JobMessages(terms);
  const hold = new JobHold(main, messages);
  const occurrences = new NewOccurrences(main, hold, messages, counters);
  const rows = new OccurrenceRows(main, messages, terms, counters);
  const group = new GroupCommit(main, [counters, terms, occurrences]);
  const lineGroup = new GroupCommit(logs);
  const lines = new EmbeddedLineStore(logs, lineGroup);
  const ranges = new RangeRows(main);
  const jobs = new JobRows(main, group, counters, clock, hold, (ids) => lines.remove(ids));
  const triggers = new Triggers(main, jobs, hold, occurrences, terms);
  const outcomes = new EmbeddedOutcomes(main, group, rows, hold, triggers);
  const ledger = new EmbeddedLedger({
    group,
    epochs: new Epochs(main),
    jobs,
    occurrences,
    recovery: new RecoveryRows(main, messages, terms),
    ranges,
    terms,
    outcomes,
  });
  const history = new EmbeddedHistory(main, group, terms, ranges, counters);
  const storeId = await group.write(() => readStoreId(main, random));
  await jobs.finishRemovals();
  const store = new EmbeddedStoreParts({ jobs, ledger, outcomes, history, lines, storeId }, {
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

interface Ports {
  readonly jobs: JobStore;
  readonly ledger: Ledger;
  readonly outcomes: Outcomes;
  readonly history: History;
  readonly lines: LineStore;
  readonly storeId: string;
}

class EmbeddedStoreParts implements Store {
  readonly jobs: JobStore;
  readonly ledger: Ledger;
  readonly outcomes: Outcomes;
  readonly history: History;
  readonly lines: LineStore;
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
