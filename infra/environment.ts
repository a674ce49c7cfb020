/** What the machine must give, checked before anything opens: better a sentence now than a riddle under load. */
import process from "node:process";
import { nearestNames } from "../actors/domain/nearest.ts";
import type { ConfigProblem } from "./config_sources.ts";

/** Room for connections, database files and three pipes to each executor host. */
const OPEN_FILES = 128;
const MEBIBYTE = 1024 * 1024;
const MEMORY_MIB = 192;

/** What is measured of the machine. */
export interface Environment {
  readonly env: Readonly<Record<string, string>>;
  /** How many further files can be opened, counted up to the given number. */
  readonly openable: (upTo: number) => number;
  /** Bytes that a container lets the program have; null when nothing limits it, or nobody may ask. */
  readonly memoryLimit: number | null;
}

/** How the machine compares with what is needed. */
export interface EnvironmentAnswer {
  /** Not to be started with; exit code 78. */
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly string[];
}

/** Compares what the machine gives with the least that is needed. */
export function checkEnvironment({ env, openable, memoryLimit }: Environment): EnvironmentAnswer {
  const problems: ConfigProblem[] = [];
  const files = openable(OPEN_FILES);
  if (files < OPEN_FILES) {
    problems.push({
      field: "open files",
      given: `room for ${files} more`,
      expected: `at least ${OPEN_FILES}`,
      hint: "Raise the limit, e.g. with `ulimit -n 1024`.",
    });
  }
  if (memoryLimit !== null && memoryLimit < MEMORY_MIB * MEBIBYTE) {
    problems.push({
      field: "memory",
      given: `a limit of ${Math.floor(memoryLimit / MEBIBYTE)} MiB`,
      expected: `at least ${MEMORY_MIB} MiB`,
      hint: "Busy Web Workers may take Worker.HeapLimitMb each on top.",
    });
  }
  const zone = env["TZ"] ?? "";
  // POSIX allows a colon in front, and forms such as CET-1CEST that are no names; only names are looked at.
  const isName = /^:?[A-Za-z][A-Za-z_/+-]*$/.test(zone);
  if (!isName || isZone(zone.replace(/^:/, ""))) return { problems, warnings: [] };
  const [near] = nearestNames(zone, Intl.supportedValuesOf("timeZone"));
  const hint = near === undefined ? "" : ` Did you mean ${near}?`;
  const warning =
    `TZ is ${zone}, which is no time zone; local times are UTC.${hint} Schedules have zones of their own.`;
  return { problems, warnings: [warning] };
}

/** The machine as it is. */
export function measuredEnvironment(env: Readonly<Record<string, string>>): Environment {
  return { env, openable: openableFiles, memoryLimit: containerLimit() };
}

function openableFiles(upTo: number): number {
  const opened: Deno.FsFile[] = [];
  try {
    // Deno lets nobody ask for the limit; trying takes some milliseconds.
    while (opened.length < upTo) opened.push(Deno.openSync(Deno.execPath()));
  } catch {
    // That is the limit.
  } finally {
    for (const file of opened) file.close();
  }
  return opened.length;
}

function containerLimit(): number | null {
  try {
    const limit = process.constrainedMemory();
    // Without a limit the answer is 0, or larger than any machine is.
    return limit > 0 && limit < Number.MAX_SAFE_INTEGER ? limit : null;
  } catch (error) {
    // Without --allow-sys=systemMemoryInfo nobody can know.
    if (error instanceof Deno.errors.NotCapable) return null;
    throw error;
  }
}

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
