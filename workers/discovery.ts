/**
 * Finds the job types in job folders: each `.ts` file at the top level, tests left out, is a job file. Everything
 * that is wrong is said at once, with file and reason.
 */
import { pathToFileURL } from "node:url";
import { join, resolve } from "node:path";
import type { Clock } from "../actors/ports/clock.ts";
import { Child, type ChildEnd } from "./child.ts";
import type { DiscoveryNews } from "./discover.ts";
import { type Launch, SOURCE_FOLDERS } from "./launch.ts";
import { hostFlags } from "./permissions.ts";
import { RECORD_SEPARATOR } from "./protocol.ts";

/** One thing wrong with a job file or folder. */
export interface DiscoveryProblem {
  /** Path of the file or folder. */
  readonly file: string;
  readonly reason: string;
}

/** Job files that cannot be offered. The message has a line for each. */
export class DiscoveryError extends Error {
  override readonly name = "DiscoveryError";

  constructor(readonly problems: readonly DiscoveryProblem[]) {
    super(problems.map(({ file, reason }) => `Cannot offer ${file}: ${reason}`).join("\n"));
  }
}

/** A job as its file declares it; nothing of it is checked yet. */
export interface FoundJob {
  /** Absolute path. */
  readonly file: string;
  /** Absolute path of its job folder. */
  readonly folder: string;
  readonly definition: unknown;
  readonly schema: unknown;
}

export interface DiscoveryOptions {
  readonly jobFolders: readonly string[];
  readonly launch: Launch;
  readonly clock: Clock;
  /** Milliseconds for all files together. */
  readonly deadlineMs: number;
}

/** Imports every job file in a short-lived child process. Throws `DiscoveryError`. */
export async function discoverJobs(options: DiscoveryOptions): Promise<readonly FoundJob[]> {
  const problems: DiscoveryProblem[] = [];
  const folderOf = new Map<string, string>();
  for (const given of new Set(options.jobFolders.map((folder) => resolve(folder)))) {
    try {
      for (const file of await jobFilesIn(given)) folderOf.set(file, given);
    } catch (error) {
      problems.push({ file: given, reason: `the folder cannot be read: ${(error as Error).message}` });
    }
  }
  const found = folderOf.size === 0 ? [] : await importAll(folderOf, options, problems);
  if (problems.length > 0) throw new DiscoveryError(problems);
  return found;
}

async function jobFilesIn(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isDirectory || !entry.name.endsWith(".ts")) continue;
    if (/(_test|\.test|\.d)\.ts$/.test(entry.name)) continue;
    files.push(join(folder, entry.name));
  }
  return files.sort();
}

async function importAll(
  folderOf: ReadonlyMap<string, string>,
  options: DiscoveryOptions,
  problems: DiscoveryProblem[],
): Promise<readonly FoundJob[]> {
  const pathOf = new Map([...folderOf.keys()].map((path) => [pathToFileURL(path).href, path]));
  const found: FoundJob[] = [];
  const open = new Set(folderOf.keys());
  let importing: string | null = null;
  let late = false;
  let end: ChildEnd | null = null;

  const child = new Child(
    options.launch({
      module: "discover",
      flags: hostFlags({}, [...SOURCE_FOLDERS, ...new Set(folderOf.values())]),
      args: [],
    }),
    undefined,
    {
      line(text) {
        if (!text.startsWith(RECORD_SEPARATOR)) return;
        const news: DiscoveryNews = JSON.parse(text.slice(1));
        const file = pathOf.get(news.file);
        if (file === undefined) return;
        if (news.kind === "importing") {
          importing = file;
          return;
        }
        importing = null;
        open.delete(file);
        if (news.kind === "refused") problems.push({ file, reason: news.reason });
        else {
          const { definition, schema } = news;
          found.push({ file, folder: folderOf.get(file) ?? "", definition, schema });
        }
        if (open.size === 0) child.kill();
      },
      ended: (how) => end = how,
    },
  );
  const cancel = options.clock.timer(options.deadlineMs, () => {
    late = true;
    child.kill();
  });
  for (const url of pathOf.keys()) child.send(url);
  await child.gone;
  cancel();

  // One culprit is enough: the files behind it were not looked at.
  if (open.size > 0) {
    problems.push(culprit(importing ?? [...open][0] ?? "", late ? options.deadlineMs : null, end));
  }
  return found;
}

function culprit(file: string, deadlineMs: number | null, end: ChildEnd | null): DiscoveryProblem {
  if (deadlineMs !== null) {
    return {
      file,
      reason: `it did not finish loading within ${deadlineMs / 1000} s: does its top level wait?`,
    };
  }
  const said = end?.stderr.trim();
  return {
    file,
    reason: `loading it ended the process (${end?.signal ?? end?.code})${said ? `: ${said}` : ""}`,
  };
}
