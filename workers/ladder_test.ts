/** What job code can do to its thread and its host, in real processes: each ends as the right outcome. */
import { assert, assertEquals, assertLess, assertMatch, assertNotEquals } from "@std/assert";
import type { Outcome } from "../actors/domain/message.ts";
import { type KeptAttempt, misbehave, supportFolder, withPool } from "../tests/support/pool.ts";

const HANDED_BACK: Outcome = { kind: "handedBack", why: "sibling-killed" };

Deno.test("a time limit ends each kind of job by the lowest rung that does it, and its lane is free again", async () => {
  await withPool({}, async (pool) => {
    const ends = async (how: string) => {
      const kept = misbehave(pool, how, {}, { timeoutMs: 50 });
      const outcome = await kept.ended;
      assertLess(kept.durationMs, 5000);
      assertEquals(kept.signals, ["timedOut"]);
      assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
      return outcome;
    };
    assertEquals(await ends("heed"), { kind: "timedOut", rung: "signal", limitMs: 50 });
    assertEquals(await ends("heed-by-returning"), { kind: "timedOut", rung: "signal", limitMs: 50 });
    assertEquals(await ends("spin-heeding"), { kind: "timedOut", rung: "signal", limitMs: 50 });
    assertEquals(await ends("ignore"), { kind: "timedOut", rung: "terminated", limitMs: 50 });
    assertEquals(await ends("spin"), { kind: "timedOut", rung: "killed", limitMs: 50 });
    assertEquals(await ends("spin-microtasks"), { kind: "timedOut", rung: "killed", limitMs: 50 });
  });
});

Deno.test("a time limit counts from the start of user code, not while a thread loads", async () => {
  await withPool({}, async (pool) => {
    const kept = misbehave(pool, "sleep", { ms: 20 }, { timeoutMs: 5000 });
    assertEquals((await kept.ended).kind, "completed");
    assertLess(kept.durationMs, 1000);
  });
});

Deno.test("the run time of an attempt is all of its run, what it awaits included", async () => {
  await withPool({}, async (pool) => {
    const kept = misbehave(pool, "sleep", { ms: 200 });
    assertEquals((await kept.ended).kind, "completed");
    // A timer may fire a moment early by the other clock.
    assertLess(190, kept.durationMs);
  });
});

Deno.test("cancel climbs the same ladder; an attempt that has not started is cancelled at once", async () => {
  await withPool({}, async (pool) => {
    const unstarted = misbehave(pool, "ignore");
    unstarted.job.cancel("cancelled", "Changed my mind");
    assertEquals(await unstarted.ended, { kind: "cancelled", rung: "signal" });

    const cancelled = async (how: string) => {
      const kept = misbehave(pool, how);
      await kept.started;
      kept.job.cancel("cancelled", "Changed my mind");
      kept.job.cancel("stopping", "The first word counts");
      const outcome = await kept.ended;
      assertEquals(kept.signals, ["cancelled"]);
      return outcome;
    };
    assertEquals(unstarted.signals, [], "there was nobody to tell");
    assertEquals(await cancelled("heed"), { kind: "cancelled", rung: "signal" });
    assertEquals(await cancelled("ignore"), { kind: "cancelled", rung: "terminated" });
    assertEquals(await cancelled("spin"), { kind: "cancelled", rung: "killed" });
  });
});

Deno.test("a lost lease hands back what heeds its signal and what does not", async () => {
  await withPool({}, async (pool) => {
    for (const how of ["heed", "ignore", "spin"]) {
      const kept = misbehave(pool, how);
      await kept.started;
      kept.job.cancel("lease-lost", "No word from the store");
      assertEquals(await kept.ended, { kind: "handedBack", why: "lease-lost" });
    }
  });
});

Deno.test("siblings of a spinning attempt finish within their grace, or are handed back and run again", async () => {
  await withPool({ killGraceMs: 400 }, async (pool) => {
    const short = misbehave(pool, "sleep", { ms: 300 });
    const heeding = misbehave(pool, "heed");
    const deaf = misbehave(pool, "ignore");
    await Promise.all([short, heeding, deaf].map((one) => one.started));
    const spinning = misbehave(pool, "spin", {}, { timeoutMs: 100 });
    assertEquals(await spinning.ended, { kind: "timedOut", rung: "killed", limitMs: 100 });
    assertEquals((await short.ended).kind, "completed");
    assertEquals(await heeding.ended, HANDED_BACK);
    assertEquals(await deaf.ended, HANDED_BACK);
    assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
  });
});

Deno.test("siblings in the thread of an attempt that ignores its signal get their grace before it is terminated", async () => {
  await withPool({ killGraceMs: 300, consumers: { MisbehaveJob: { threads: 1 } } }, async (pool) => {
    const short = misbehave(pool, "sleep", { ms: 350 });
    const deaf = misbehave(pool, "ignore");
    const ignoring = misbehave(pool, "ignore", {}, { timeoutMs: 50 });
    assertEquals(await ignoring.ended, { kind: "timedOut", rung: "terminated", limitMs: 50 });
    assertEquals((await short.ended).kind, "completed");
    assertEquals(await deaf.ended, HANDED_BACK);
  });
});

Deno.test("exit, in any spelling, fails the attempt and nothing else", async () => {
  await withPool({}, async (pool) => {
    const sibling = misbehave(pool, "sleep", { ms: 100 });
    for (const how of ["exit", "process-exit", "close", "exit-caught"]) {
      const outcome = await misbehave(pool, how).ended;
      assert(outcome.kind === "failed", how);
      assertEquals([outcome.cause, outcome.permanent, outcome.error.name], ["exited", false, "JobExited"]);
    }
    assertEquals((await sibling.ended).kind, "completed");
  });
});

Deno.test("an error that nothing catches fails the attempt whose code it was, also when it runs beside others", async () => {
  await withPool({ killGraceMs: 500, consumers: { MisbehaveJob: { threads: 1 } } }, async (pool) => {
    const sibling = misbehave(pool, "sleep", { ms: 200 });
    const rejecting = await misbehave(pool, "reject", { ms: 50 }).ended;
    assert(rejecting.kind === "failed");
    assertEquals([rejecting.cause, rejecting.error.message], ["unhandled", "Nobody waits for this"]);
    const throwing = await misbehave(pool, "throw-in-timer").ended;
    assert(throwing.kind === "failed");
    assertEquals([throwing.cause, throwing.error.message], ["unhandled", "Thrown in a timer"]);
    assertEquals((await sibling.ended).kind, "completed");
  });
});

Deno.test("an attempt that eats all memory alone fails as out of memory, and its lane is free again", async () => {
  await withPool({ heapLimitMb: 48 }, async (pool) => {
    const outcome = await misbehave(pool, "allocate").ended;
    assert(outcome.kind === "failed");
    assertEquals([outcome.cause, outcome.permanent], ["out-of-memory", false]);
    assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
  });
});

Deno.test("memory outside the heap is limited, too", async () => {
  await withPool({ hostMemoryLimitMb: 200 }, async (pool) => {
    const outcome = await misbehave(pool, "allocate-buffers").ended;
    assert(outcome.kind === "failed");
    assertEquals(outcome.cause, "out-of-memory");
  });
});

Deno.test("who ate the memory beside others is found by running each of them alone; innocents are never counted", async () => {
  await withPool({ heapLimitMb: 48 }, async (pool) => {
    // As a caller does: what is handed back runs again, with the next token and the same attempt.
    const untilCounted = async (kept: KeptAttempt, how: string, occurrenceId: string): Promise<Outcome[]> => {
      const outcomes = [await kept.ended];
      while (outcomes.at(-1)?.kind === "handedBack") {
        outcomes.push(await misbehave(pool, how, { ms: 50 }, { occurrenceId, jobId: occurrenceId }).ended);
      }
      return outcomes;
    };
    const innocent = misbehave(pool, "ignore", {}, { occurrenceId: "innocent", jobId: "innocent" });
    await innocent.started;
    const guilty = misbehave(pool, "allocate", {}, { occurrenceId: "guilty", jobId: "guilty" });
    const [ofInnocent, ofGuilty] = await Promise.all([
      untilCounted(innocent, "sleep", "innocent"),
      untilCounted(guilty, "allocate", "guilty"),
    ]);
    assertEquals(ofInnocent, [HANDED_BACK, { kind: "completed", result: null }]);
    assertEquals(ofGuilty.length, 2);
    assert(ofGuilty[1]?.kind === "failed" && ofGuilty[1].cause === "out-of-memory");

    // Its next attempt runs alone as well: nobody is cut off by it again.
    const sibling = misbehave(pool, "sleep", { ms: 3000 });
    await sibling.started;
    const again = await misbehave(pool, "allocate", {}, { occurrenceId: "guilty", jobId: "guilty" }).ended;
    assert(again.kind === "failed" && again.cause === "out-of-memory");
    assertEquals((await sibling.ended).kind, "completed");
  });
});

Deno.test("a host killed from outside: the one attempt in it has crashed, and the next gets a fresh host", async () => {
  await withPool({}, async (pool, log) => {
    const kept = misbehave(pool, "ignore");
    await kept.started;
    const [host] = await hostsOf(Deno.pid);
    await shell(`kill -9 ${host}`);
    const outcome = await kept.ended;
    assert(outcome.kind === "failed");
    assertEquals(outcome.cause, "crashed");
    assertMatch(outcome.error.message, /SIGKILL/);
    assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
    assertEquals(log.lines.at(-1)?.message, "An executor host died");
  });
});

Deno.test("Ctrl-C and SIGTERM, which reach the whole process group, end no host", async () => {
  await withPool({}, async (pool) => {
    const kept = misbehave(pool, "sleep", { ms: 300 });
    await kept.started;
    const [host] = await hostsOf(Deno.pid);
    await shell(`kill -INT ${host}; kill -TERM ${host}`);
    assertEquals((await kept.ended).kind, "completed");
  });
});

Deno.test("no host outlives its parent, however it dies and whatever job code does", async () => {
  const { parent, lines, hosts } = await startParent();
  parent.kill("SIGKILL");
  await parent.status;
  await allEnd(hosts);
  await lines.cancel();
});

Deno.test("hosts of a frozen parent end themselves, whatever job code does; when it wakes, what ran is handed back", async () => {
  const { parent, lines, hosts } = await startParent();
  parent.kill("SIGSTOP");
  await allEnd(hosts);
  parent.kill("SIGCONT");
  const { value } = await lines.read();
  const outcomes: Outcome[] = JSON.parse(value ?? "[]");
  assertEquals(outcomes, [HANDED_BACK, HANDED_BACK, HANDED_BACK]);
  assertEquals((await parent.status).code, 0);
  await lines.cancel();
});

Deno.test("a host that was frozen together with its parent goes on", async () => {
  const { parent, lines, hosts } = await startParent();
  await shell(`kill -STOP ${[parent.pid, ...hosts].join(" ")}`);
  await new Promise((resolve) => setTimeout(resolve, 3 * PARENT_SILENCE_MS));
  await shell(`kill -CONT ${[parent.pid, ...hosts].join(" ")}`);
  await new Promise((resolve) => setTimeout(resolve, PARENT_SILENCE_MS));
  assertEquals(await anyRuns(hosts), true);
  parent.kill("SIGKILL");
  await parent.status;
  await lines.cancel();
});

const PARENT_SILENCE_MS = 1500;

/** A process with hosts whose job code spins. */
async function startParent() {
  const parent = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-lock",
      "--no-prompt",
      "--allow-read",
      "--allow-env",
      "--allow-run=" + Deno.execPath(),
      supportFolder("pool_parent.ts"),
      String(PARENT_SILENCE_MS),
    ],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value = "" } = await lines.read();
  assertEquals(JSON.parse(value).figures.busy, 3);
  const hosts = await hostsOf(parent.pid);
  assertNotEquals(hosts, []);
  return { parent, lines, hosts };
}

async function allEnd(hosts: readonly number[]): Promise<void> {
  const from = performance.now();
  while (await anyRuns(hosts)) {
    assertLess(performance.now() - from, 30_000, "a host lives on");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly state: string;
}

/** All processes of this machine. Through a shell, because Deno hands out /proc only with all permissions. */
async function processes(): Promise<Process[]> {
  const lines = (await shell("cat /proc/[0-9]*/stat 2>/dev/null")).trim().split("\n");
  return lines.map((line) => {
    const [, pid, name = "", state = "", parent] = /^(\d+) \((.*)\) (\S+) (\d+)/.exec(line) ?? [];
    return { pid: Number(pid), parent: Number(parent), name, state };
  });
}

async function shell(command: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", command], stdout: "piped" }).output();
  return new TextDecoder().decode(stdout);
}

/** Process ids of the executor hosts that a process has started. */
async function hostsOf(parent: number): Promise<number[]> {
  const children = (await processes()).filter((one) => one.parent === parent && one.name === "deno");
  return children.map(({ pid }) => pid);
}

async function anyRuns(pids: readonly number[]): Promise<boolean> {
  return (await processes()).some(({ pid, state }) => pids.includes(pid) && state !== "Z");
}
