/** Asks the bottleneck advisor of a running installation until it says something, or keeps silent. */
import { assert } from "@std/assert";
import { systemClock } from "../../infra/clock.ts";
import { shell } from "./processes.ts";
import { Program, type ProgramOptions, taskCommand, until } from "./program.ts";

/** Looks are taken each second, so that a window is 13 s long. */
export const LOOKS = { MilvaionConfig__Bottlenecks__LookIntervalSeconds: "1" };

export interface Found {
  readonly code: string;
  readonly place: string;
  readonly symptom: string;
  readonly cause: string;
  readonly changes: readonly string[];
  readonly proof: readonly { readonly name: string; readonly value: number; readonly limit: number | null }[];
}

export type Get = (path: string) => Promise<{ readonly status: number; readonly body: unknown }>;

export async function bottlenecks(
  get: Get,
): Promise<{ readonly looks: number; readonly bottlenecks: readonly Found[] }> {
  const { status, body } = await get("/api/v1/bottlenecks");
  if (status !== 200) throw new Error(`bottlenecks: ${status}`);
  return body as { looks: number; bottlenecks: Found[] };
}

/** Waits until the advisor has looked long enough to judge, and does not name any of these. */
export async function silent(get: Get, ...codes: readonly string[]): Promise<void> {
  await until(async () => {
    const { looks, bottlenecks: found } = await bottlenecks(get);
    return looks >= 5 && !found.some(({ code }) => codes.includes(code));
  }, `the advisor says nothing of ${codes.join(", ")}`);
}

/** Does it again and again until the advisor names it, with this cause. */
export async function found(
  get: Get,
  wanted: { readonly codes: readonly string[]; readonly cause?: RegExp },
  bringAbout: () => Promise<unknown>,
): Promise<Found> {
  let last: unknown = null;
  try {
    return await until(async () => {
      await bringAbout();
      const seen = await bottlenecks(get);
      last = seen;
      return seen.bottlenecks.find(({ code, cause }) =>
        wanted.codes.includes(code) && (wanted.cause?.test(cause) ?? true)
      );
    }, `the advisor names ${wanted.codes.join(" or ")}`);
  } catch (error) {
    throw new Error(`${(error as Error).message}; it says ${JSON.stringify(last, null, 1)}`, {
      cause: error,
    });
  }
}

/** Each finding carries a number at or beyond its limit. */
export function proves({ proof }: Found): void {
  const [first] = proof;
  assert(
    first !== undefined && first.limit !== null && first.value >= first.limit * 0.7,
    JSON.stringify(proof),
  );
}

/**
 * Lets a process that leads a session of its own have a processor on a busy machine, where this user may decide that;
 * elsewhere it has to share.
 */
export async function prefer(pid: number): Promise<void> {
  await shell('{ echo -19 > "/proc/$1/autogroup"; } 2>/dev/null || true', String(pid));
}

export const pause = (ms: number) => new Promise<void>((resolve) => void systemClock.timer(ms, resolve));

/** A whole installation in one process, preferred to other programs where this user may decide that. */
export async function preferredProgram(options: ProgramOptions = {}): Promise<Program> {
  const program = await Program.start({
    ...options,
    env: { ...LOOKS, ...options.env },
    command: [
      "sh",
      "-c",
      'exec $(command -v setsid) "$@"',
      "sh",
      Deno.execPath(),
      ...await taskCommand("run"),
    ],
  });
  await prefer(program.child.pid);
  return program;
}
