/** The data folder of embedded mode. Nothing is created that was not there, but for a trial file that goes again. */
import { existsSync, statfsSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Random } from "../../actors/ports/clock.ts";
import { DataFolderError, lockDataFolder } from "../embedded/data_folder.ts";
import { schemaVersion } from "../embedded/database.ts";
import { LOG_MIGRATIONS, STORE_MIGRATIONS } from "../embedded/schema.ts";
import {
  asError,
  type Check,
  type Examination,
  failed,
  type Finding,
  ok,
  unknown,
  warning,
} from "./check.ts";

interface DataFolderProbe {
  readonly path: string;
  /** Who uses it now, in words; null when nobody does. */
  readonly usedBy: string | null;
  readonly release: () => void;
}

const FILES = [["milvaion.db", STORE_MIGRATIONS.length], ["logs.db", LOG_MIGRATIONS.length]] as const;
const MB = 1024 * 1024;
const SPACE_TO_FAIL = 64 * MB;
const SPACE_TO_WARN = 1024 * MB;
/** A larger file takes longer to check than a doctor has. */
const CHECK_UP_TO = 256 * MB;

/** Looks at the folder, or at where it would be created. */
export function dataFolderExamination(folder: string, random: Random): Examination<DataFolderProbe> {
  const checks: Check<DataFolderProbe>[] = [
    { name: "writable", look: (probe) => writable(probe, random) },
    { name: "schema", look: schema },
    { name: "integrity", look: integrity },
    { name: "free space", look: freeSpace },
  ];
  return {
    subject: "Data folder",
    reach: () => Promise.resolve(probeFolder(resolve(folder))),
    explain: (error) =>
      failed(sentence(error.message), "Name another folder with MILVAION_DATA_DIR or --data-dir."),
    checks,
    leave: (probe) => Promise.resolve(probe.release()),
  };
}

/** Locked while it is looked at, so that no program starts on it meanwhile. */
function probeFolder(path: string): DataFolderProbe {
  const free = { path, usedBy: null, release: () => {} };
  if (!existsSync(path)) return free;
  try {
    const { release } = lockDataFolder(path);
    return { path, usedBy: null, release };
  } catch (error) {
    if (!(error instanceof DataFolderError) || error.code !== "locked") throw error;
    return { ...free, usedBy: /in use by ([^.]+)\./.exec(error.message)?.[1] ?? "another process" };
  }
}

function writable({ path, usedBy }: DataFolderProbe, random: Random): Finding {
  if (usedBy !== null) return ok(`${path} is in use by ${usedBy}, so it is writable.`);
  const isThere = existsSync(path);
  const where = isThere ? path : nearestFolder(path);
  const trial = join(where, `.milvaion-doctor-${random.uuid()}`);
  try {
    writeFileSync(trial, "");
    unlinkSync(trial);
  } catch (error) {
    return failed(
      `${where} is not writable: ${asError(error).message}.`,
      "Give the folder to the user that runs this program (`chown`), or name another with MILVAION_DATA_DIR.",
    );
  }
  return ok(isThere ? `${path} is writable.` : `${path} is not there yet and can be created.`);
}

function schema({ path, usedBy }: DataFolderProbe): Finding {
  if (usedBy !== null) return unknown("Not looked at while a program works on it.");
  const there = FILES.filter(([name]) => existsSync(join(path, name)));
  if (there.length === 0) return ok("There is no store yet; the first start makes one.");
  const versions = there.map(([name, newest]) => ({
    name,
    newest,
    version: schemaVersion(join(path, name)),
  }));
  const words = versions.map(({ name, version, newest }) => `${name} ${version} of ${newest}`).join(", ");
  if (versions.some(({ version, newest }) => version > newest)) {
    return failed(
      `The store was written by a newer program: schema versions ${words}.`,
      "Use the program that wrote it, or a newer one.",
    );
  }
  const isNewest = versions.every(({ version, newest }) => version === newest);
  return ok(`Schema versions ${words}${isNewest ? "" : "; the next start brings them up to date"}.`);
}

function integrity({ path, usedBy }: DataFolderProbe): Finding {
  if (usedBy !== null) return unknown("Not looked at while a program works on it.");
  const there = FILES.map(([name]) => name).filter((name) => existsSync(join(path, name)));
  if (there.length === 0) return ok("There is no store yet.");
  const large = there.filter((name) => statSync(join(path, name)).size > CHECK_UP_TO);
  for (const name of there) {
    if (large.includes(name)) continue;
    const damage = damageOf(join(path, name));
    if (damage === null) continue;
    return failed(
      `${name} is damaged: ${damage}.`,
      `Stop, copy the folder, then: sqlite3 ${join(path, name)} .recover | sqlite3 ${join(path, name)}.new`,
    );
  }
  if (large.length === 0) return ok(`${there.join(" and ")}: quick check found nothing.`);
  return unknown(
    `${large.join(" and ")}: too large for a quick look.`,
    `While it is stopped: sqlite3 ${join(path, large[0] ?? "")} 'PRAGMA quick_check'`,
  );
}

function damageOf(file: string): string | null {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(file);
    // The lock of the folder keeps others out; exclusive spares the file of shared memory.
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    const found = String(database.prepare("PRAGMA quick_check(1)").get()?.["quick_check"]);
    return found === "ok" ? null : found;
  } catch (error) {
    return asError(error).message;
  } finally {
    database?.close();
  }
}

function freeSpace({ path }: DataFolderProbe): Finding {
  const where = existsSync(path) ? path : nearestFolder(path);
  const { bavail, bsize } = statfsSync(where);
  const free = bavail * bsize;
  const words = `${Math.floor(free / MB).toLocaleString("en")} MB are free for ${path}.`;
  const remedy =
    "Free space, or name a folder on another disk. About 400 bytes are kept for each job that ran.";
  if (free < SPACE_TO_FAIL) return failed(words, remedy);
  return free < SPACE_TO_WARN ? warning(words, remedy) : ok(words);
}

function nearestFolder(path: string): string {
  let folder = dirname(path);
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}

function sentence(text: string): string {
  return text.endsWith(".") ? text : text + ".";
}
