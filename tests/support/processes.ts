/**
 * Processes of the machine, by number: who descends from whom, signals to all of them, and how to start one under
 * another user or another clock. All through `sh`, because the test task may run that and read no `/proc`.
 */
import { delay } from "@std/async";

const GONE_MS = 15_000;

/** What `sh` prints for a script; `$1`, `$2` … are the arguments. Throws when it fails. */
export async function shell(script: string, ...args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", script, "sh", ...args],
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Cannot run \`${script}\`: ${text.decode(stderr).trim()}`);
  return text.decode(stdout).trim();
}

/** The process and all that descend from it, parents first. Empty when it is gone. */
export async function familyOf(pid: number): Promise<readonly number[]> {
  const children = new Map<number, number[]>();
  let isThere = false;
  for (const one of await processes()) {
    if (one.pid === pid) isThere = true;
    children.set(one.parent, [...children.get(one.parent) ?? [], one.pid]);
  }
  const family = isThere ? [pid] : [];
  for (const member of family) family.push(...children.get(member) ?? []);
  return family;
}

/** Sends a signal to each of them; those that are gone are passed over. */
export async function signalAll(pids: readonly number[], signal: "STOP" | "CONT" | "KILL"): Promise<void> {
  if (pids.length > 0) await shell(`kill -${signal} "$@" 2>/dev/null || true`, ...pids.map(String));
}

/** Waits until none of them runs any more. A zombie runs no more. */
export async function allGone(pids: readonly number[]): Promise<void> {
  const until = performance.now() + GONE_MS;
  while (true) {
    const alive = (await processes()).filter((one) => pids.includes(one.pid));
    if (alive.length === 0) return;
    if (performance.now() > until) {
      throw new Error(`Still running: ${alive.map(({ pid }) => pid).join(", ")}`);
    }
    await delay(20);
  }
}

async function processes(): Promise<{ readonly pid: number; readonly parent: number }[]> {
  // A process may end between the listing and the reading: cat then complains, and that is no failure.
  const text = await shell("cat /proc/[0-9]*/stat 2>/dev/null || true");
  return text.split("\n").flatMap((line) => {
    // The name in parentheses may hold anything, spaces and parentheses too.
    const [state, parent] = line.slice(line.lastIndexOf(")") + 2).split(" ");
    if (state === "Z" || state === "X" || parent === undefined) return [];
    return [{ pid: Number(line.slice(0, line.indexOf(" "))), parent: Number(parent) }];
  });
}
