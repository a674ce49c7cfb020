/**
 * A worker's outbox: whether reports could wait there, and whether they would outlive the worker. Nothing here fails:
 * a worker without an outbox runs, and its reports wait in memory.
 */
import { existsSync, readdirSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Random } from "../../actors/ports/clock.ts";
import { networkFileSystem } from "../embedded/data_folder.ts";
import { orphansIn } from "../outbox/outbox_folder.ts";
import { asError, type Examination, type Finding, ok, unknown, warning } from "./check.ts";

const REMEDY =
  "Name a folder on a local disk with Worker.OutboxDir (a container: on a volume), writable for the worker's user.";
/** File systems that end with the machine or with the container, by the type that statfs(2) gives. */
const PASSING: ReadonlyMap<number, string> = new Map([
  [0x01021994, "in memory (tmpfs)"],
  [0x858458f6, "in memory (ramfs)"],
  [0x794c7630, "in the container's own layer (overlayfs)"],
]);

/** How long what lies on a file system lasts, in words; null when nothing speaks against it. */
export function passingFileSystem(type: number): string | null {
  return PASSING.get(type >>> 0) ?? null;
}

/** Looks at the folder, or at where it would be created. */
export function outboxExamination(folder: string, random: Random): Examination<string> {
  return {
    subject: "Outbox",
    reach: () => Promise.resolve(resolve(folder)),
    explain: (error) => unknown(error.message),
    checks: [
      { name: "writable", look: (path) => writable(path, random) },
      { name: "storage", look: storage },
      { name: "orphans", look: orphans },
    ],
    leave: () => Promise.resolve(),
  };
}

function writable(path: string, random: Random): Finding {
  const where = nearestFolder(path);
  const trial = join(where, `.milvaion-doctor-${random.uuid()}`);
  try {
    writeFileSync(trial, "");
    unlinkSync(trial);
  } catch (error) {
    // An API instance in its image may write nothing, and has no outbox.
    if (error instanceof Deno.errors.NotCapable) {
      return unknown(
        `This process has no permission to write to ${where}; only a worker needs it.`,
        `On a worker: allow it with --allow-write, or name another folder with Worker.OutboxDir.`,
      );
    }
    return warning(
      `${where} is not writable: ${asError(error).message}. Reports of a worker here would wait in memory.`,
      REMEDY,
    );
  }
  return ok(where === path ? `${path} is writable.` : `${path} is not there yet and can be created.`);
}

function storage(path: string): Finding {
  const { type } = statfsSync(nearestFolder(path));
  const network = networkFileSystem(type);
  if (network !== null) {
    return warning(`${path} lies on ${network}, which is refused: reports would wait in memory.`, REMEDY);
  }
  const passing = passingFileSystem(type);
  if (passing === null) return ok(`${path} outlives a worker, as far as its file system tells.`);
  return warning(
    `${path} lies ${passing}: reports that wait there may be lost with it, and their runs are run again.`,
    REMEDY,
  );
}

function orphans(path: string): Finding {
  if (!existsSync(path) || !readdirSync(path).some((name) => name.endsWith(".db"))) {
    return ok("No file waits for a worker.");
  }
  const left = orphansIn(path);
  if (left === 0) return ok("No file waits for a worker: all are those of workers that run.");
  return warning(
    `${left === 1 ? "One file waits" : `${left} files wait`} for a worker to adopt ${
      left === 1 ? "it" : "them"
    }.`,
    "Start a worker with this folder, or look into its log why it leaves them.",
  );
}

function nearestFolder(path: string): string {
  let folder = path;
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}
