/**
 * The data folder of embedded mode: two database files and the lock that keeps every other process out.
 *
 * The lock is the system's advisory lock on the file `lock`, so it ends with the process, however that ends. The
 * process id in the file only serves the sentence that a second process prints.
 */
import { statfsSync } from "node:fs";
import { join, resolve } from "node:path";

/** Why a data folder cannot be used. */
export type DataFolderFault =
  /** It cannot be created, read or written. */
  | "not_writable"
  /** Another process works on it. */
  | "locked"
  /** It lies on a network file system, where neither locks nor syncs can be relied on. */
  | "network_file_system"
  /** A database file in it is damaged. */
  | "corrupt"
  /** Its schema is newer than this program. */
  | "schema_version";

/** The data folder cannot be used. The message names the folder and the remedy, and is meant for people. */
export class DataFolderError extends Error {
  constructor(readonly code: DataFolderFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DataFolderError";
  }
}

export interface DataFolder {
  /** Absolute path. */
  readonly path: string;
  /** Lets other processes in; releasing twice is fine. */
  release(): void;
}

const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x5346414f, "AFS"],
  [0x01021997, "9P"],
]);

/** The name of a network file system by the type that statfs(2) gives, or null for a local one. */
export function networkFileSystem(type: number): string | null {
  return NETWORK_FILE_SYSTEMS.get(type >>> 0) ?? null;
}

/** Creates the folder when it is missing and takes it for this process. Throws `DataFolderError`. */
export function lockDataFolder(folder: string): DataFolder {
  const path = resolve(folder);
  const file = openLockFile(path);
  try {
    refuseNetworkFileSystem(path);
    if (!file.tryLockSync(true)) {
      const owner = ownerOf(join(path, "lock"));
      throw new DataFolderError(
        "locked",
        `The data folder ${path} is in use by ${owner}. ` +
          "Stop that one first, or name another folder with MILVAION_DATA_DIR.",
      );
    }
    file.truncateSync(0);
    file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
  } catch (error) {
    file.close();
    throw asWriteFault(path, error);
  }
  let isHeld = true;
  return {
    path,
    release() {
      if (!isHeld) return;
      isHeld = false;
      file.close();
    },
  };
}

function openLockFile(path: string): Deno.FsFile {
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    return Deno.openSync(join(path, "lock"), { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    throw asWriteFault(path, error);
  }
}

function asWriteFault(path: string, error: unknown): unknown {
  if (error instanceof DataFolderError || !(error instanceof Error)) return error;
  return new DataFolderError(
    "not_writable",
    `Cannot write to the data folder ${path}: ${error.message}.${ownership(path)} ` +
      "Make it writable for this user, or name another folder with MILVAION_DATA_DIR.",
    { cause: error },
  );
}

/** A sentence when the folder belongs to somebody else; empty when it does not, or nobody may know. */
function ownership(path: string): string {
  try {
    const owner = Deno.statSync(path).uid;
    const self = Deno.uid();
    return owner === null || self === null || owner === self
      ? ""
      : ` It belongs to user ${owner}, this process runs as user ${self}.`;
  } catch {
    return "";
  }
}

function ownerOf(lockFile: string): string {
  try {
    const pid = Deno.readTextFileSync(lockFile).trim();
    return /^\d+$/.test(pid) ? `the process ${pid}` : "another process";
  } catch {
    return "another process";
  }
}

function refuseNetworkFileSystem(path: string): void {
  let type: number;
  try {
    type = statfsSync(path).type;
  } catch {
    return; // The system does not tell.
  }
  const name = networkFileSystem(type);
  if (name === null) return;
  throw new DataFolderError(
    "network_file_system",
    `The data folder ${path} lies on ${name}. The embedded store needs a local disk, whose locks and syncs hold; ` +
      "name one with MILVAION_DATA_DIR.",
  );
}
