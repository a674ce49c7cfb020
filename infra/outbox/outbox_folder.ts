/**
 * The folder in which the outboxes of worker instances lie, a file each: `<instance id>.db`.
 *
 * Beside each lies `<instance id>.lock`, which its user holds by the system's advisory lock; so it ends with the
 * process, however that ends, and a file whose lock is free is an orphan. Whoever gets the lock adopts the file. The
 * database goes before its lock, so that a lock that somebody still gets hold of guards nothing.
 */
import { statfsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Log } from "../../actors/ports/log.ts";
import { DataFolderError, networkFileSystem } from "../embedded/data_folder.ts";
import { HeldFile, type Origin } from "./held_file.ts";

/** A file of this folder that belongs to this process until it lets go. */
export interface LockedFile {
  readonly held: HeldFile;
  /** Closes it. One in which nothing waits is deleted, another is left for the next instance. */
  release(): Promise<void>;
}

const DATABASE = ".db";

/** Where a worker with this configuration has its outbox. */
export function outboxPath(config: {
  readonly MilvaionConfig: { readonly DataDir: string };
  readonly Worker: { readonly OutboxDir: string | null };
}): string {
  return join(config.Worker.OutboxDir ?? config.MilvaionConfig.DataDir, "outbox");
}

export class OutboxFolder {
  readonly path: string;
  /** Files that this process holds, or has said that it cannot use. */
  readonly #passedOver = new Set<string>();

  constructor(folder: string, private readonly log: Log) {
    this.path = resolve(folder);
  }

  /** Makes the file of this instance. Throws `DataFolderError`. */
  create(origin: Origin): LockedFile {
    try {
      Deno.mkdirSync(this.path, { recursive: true, mode: 0o700 });
      refuseNetworkFileSystem(this.path);
      const locked = this.#lock(origin.instanceId, origin);
      if (locked === null) throw new Error(`${origin.instanceId}${DATABASE} is in use by another process`);
      return locked;
    } catch (error) {
      if (error instanceof DataFolderError) throw error;
      throw new DataFolderError(
        "not_writable",
        `Cannot write to the outbox ${this.path}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  /** Takes the files that nobody holds and that belong to this store, oldest first. */
  adoptOrphans(storeId: string): readonly LockedFile[] {
    const adopted: LockedFile[] = [];
    for (const instanceId of this.#instances()) {
      try {
        const locked = this.#adopt(instanceId, storeId);
        if (locked !== null) adopted.push(locked);
      } catch (error) {
        this.#passedOver.add(instanceId);
        this.log.warn("Cannot adopt an outbox, it is left as it is: " + (error as Error).message);
      }
    }
    return adopted.sort((left, right) => madeAt(left) - madeAt(right));
  }

  #instances(): readonly string[] {
    try {
      return [...Deno.readDirSync(this.path)]
        .flatMap(({ name }) => name.endsWith(DATABASE) ? [name.slice(0, -DATABASE.length)] : [])
        .filter((instanceId) => !this.#passedOver.has(instanceId)).sort();
    } catch {
      return []; // there is no folder, so there are no orphans
    }
  }

  #adopt(instanceId: string, storeId: string): LockedFile | null {
    const locked = this.#lock(instanceId, null);
    if (locked === null) return null;
    const { origin, unreadable } = locked.held;
    if (unreadable > 0) {
      this.log.error("Reports in an outbox cannot be read, they are left where they are", {
        file: locked.held.path,
        reports: unreadable,
      });
    }
    if (origin === null || origin.storeId === storeId) return locked;
    locked.release().catch((error: Error) => this.log.warn("Cannot close an outbox: " + error.message));
    this.log.warn("An outbox belongs to another store, it is left as it is", { file: locked.held.path });
    return null;
  }

  /** `origin` is null for a file that must be there already. Null when another process holds it. */
  #lock(instanceId: string, origin: Origin | null): LockedFile | null {
    const path = join(this.path, instanceId + DATABASE);
    const lockPath = join(this.path, `${instanceId}.lock`);
    const lock = Deno.openSync(lockPath, { read: true, write: true, create: true, mode: 0o600 });
    try {
      if (!lock.tryLockSync(true)) {
        lock.close();
        return null;
      }
      if (origin === null && !isThere(path)) {
        // Its last holder has sent everything and deleted it since it was listed.
        remove(lockPath);
        lock.close();
        return null;
      }
      const held = new HeldFile(path, origin);
      this.#passedOver.add(instanceId);
      return {
        held,
        release: async () => {
          const isDone = held.count === 0 && held.lineCount === 0 && held.unreadable === 0;
          try {
            await held.close();
            if (isDone) { for (const suffix of ["", "-wal", "-shm"]) remove(path + suffix); }
            if (isDone) remove(lockPath);
          } finally {
            lock.close();
          }
        },
      };
    } catch (error) {
      lock.close();
      throw error;
    }
  }
}

/** Files in a folder that no process holds now. Throws when the folder or a lock cannot be opened. */
export function orphansIn(folder: string): number {
  let count = 0;
  for (const { name } of Deno.readDirSync(folder)) {
    if (!name.endsWith(DATABASE)) continue;
    const lockPath = join(folder, `${name.slice(0, -DATABASE.length)}.lock`);
    if (!isThere(lockPath)) count += 1;
    else {
      using lock = Deno.openSync(lockPath, { read: true, write: true });
      if (lock.tryLockSync(true)) count += 1;
    }
  }
  return count;
}

function madeAt({ held }: LockedFile): number {
  return held.origin?.madeAt ?? 0;
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function refuseNetworkFileSystem(path: string): void {
  let name: string | null;
  try {
    name = networkFileSystem(statfsSync(path).type);
  } catch {
    return; // The system does not tell.
  }
  if (name === null) return;
  throw new DataFolderError(
    "network_file_system",
    `The outbox ${path} lies on ${name}, where neither locks nor syncs can be relied on. ` +
      "Name a folder on a local disk with Worker.OutboxDir.",
  );
}
