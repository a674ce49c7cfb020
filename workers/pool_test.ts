import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertThrows } from "@std/assert";
import { attempt, misbehave, supportFolder, withPool } from "../tests/support/pool.ts";

Deno.test("an attempt's code sees its payload as the schema's output, its occurrence, its attempt and its token", async () => {
  await withPool({}, async (pool) => {
    const kept = attempt(pool, "ContextJob", { when: "2026-03-29T01:30:00Z" }, {
      occurrenceId: "o-1",
      jobId: "j-1",
      token: 7,
      attempt: 2,
      maxAttempts: 4,
    });
    assertEquals(await kept.ended, {
      kind: "completed",
      result: JSON.stringify({
        year: 2026,
        occurrenceId: "o-1",
        jobId: "j-1",
        scheduledFor: "2026-01-01T00:00:00.000Z",
        attempt: 2,
        maxAttempts: 4,
        fencingToken: 7,
        aborted: false,
      }),
    });
    assertLess(Math.abs(await kept.started - Date.now()), 60_000);
    assertEquals(kept.progress, [{ done: 2, total: 2 }], "only the newest progress of a moment travels");
  });
});

Deno.test("a payload that does not fit fails for good, and the message names each path", async () => {
  await withPool({}, async (pool) => {
    const kept = attempt(pool, "ContextJob", { when: "yesterday", list: [{ count: 1 }, { count: 1.5 }] });
    const outcome = await kept.ended;
    assert(outcome.kind === "failed");
    assertEquals([outcome.cause, outcome.permanent], ["invalid-data", true]);
    assertMatch(outcome.error.message, /when: .*; list\.1\.count: /);

    const broken = await attempt(pool, "AnyDataJob", "{not json").ended;
    assert(broken.kind === "failed" && broken.cause === "invalid-data");
    const noObject = await attempt(pool, "AnyDataJob", "[1]").ended;
    assert(noObject.kind === "failed" && noObject.cause === "invalid-data");
    const empty = await attempt(pool, "AnyDataJob", "{}").ended;
    assertEquals(empty, { kind: "completed", result: "{}" });
  });
});

Deno.test("what job code throws is told apart: an error with its causes, a permanent one, one to be tried later, no error at all", async () => {
  await withPool({}, async (pool) => {
    const failed = await misbehave(pool, "fail").ended;
    assert(failed.kind === "failed");
    assertEquals([failed.cause, failed.permanent, failed.retryAfterMs], ["error", false, null]);
    assertEquals([failed.error.name, failed.error.message], ["TypeError", "It failed"]);
    const [cause] = failed.error.causes;
    assertEquals([failed.error.causes.length, cause?.name, cause?.message], [1, "Error", "for this reason"]);
    assert(cause?.stack?.includes("_job"), "it says where the cause came from: " + cause?.stack);
    assertMatch(failed.error.stack ?? "", /misbehave_job\.ts:\d+/);

    const permanent = await misbehave(pool, "fail-permanently").ended;
    assert(permanent.kind === "failed" && permanent.permanent);
    const later = await misbehave(pool, "retry-later").ended;
    assert(later.kind === "failed");
    assertEquals([later.retryAfterMs, later.permanent], [7000, false]);
    const text = await misbehave(pool, "throw-text").ended;
    assert(text.kind === "failed");
    assertEquals([text.error.name, text.error.message], ["Error", "only text"]);
  });
});

Deno.test("results, lines and errors are cut at their limits, with the original size, and hold nothing that a store refuses", async () => {
  await withPool({}, async (pool) => {
    const large = await misbehave(pool, "return-large").ended;
    assert(large.kind === "completed" && large.result !== null);
    assertEquals(JSON.parse(large.result).bytes, 200_002);
    assertLess(large.result.length, 65_536);

    const cycle = await misbehave(pool, "return-cycle").ended;
    assert(cycle.kind === "failed" && cycle.permanent);
    assertMatch(cycle.error.message, /result cannot be written as JSON/);

    const line = misbehave(pool, "large-line");
    await line.ended;
    assertLess(line.lines[0]?.message.length ?? 0, 8300);
    assertMatch(line.lines[0]?.message ?? "", /cut: 1000000 bytes in all/);

    const odd = misbehave(pool, "odd-fields");
    await odd.ended;
    assertEquals(JSON.parse(odd.lines[0]?.fields ?? ""), {
      big: "1",
      nul: "a\uFFFDb",
      half: "\uFFFD",
      self: "[circular]",
    });

    const error = await misbehave(pool, "large-error").ended;
    assert(error.kind === "failed");
    assertLess(JSON.stringify(error.error).length, 16_384);
    assertMatch(error.error.message, /cut: 5000000 bytes in all/);
  });
});

Deno.test("a flood of lines is thinned out, and a line says how many are missing", async () => {
  await withPool({}, async (pool) => {
    const flood = misbehave(pool, "flood");
    assertEquals((await flood.ended).kind, "completed");
    const dropped = flood.lines.map(({ message }) => Number(/^(\d+) lines dropped/.exec(message)?.[1] ?? 0));
    const marks = dropped.filter((count) => count > 0).length;
    assertGreater(marks, 0);
    assertLess(flood.lines.length, 10_000);
    assertEquals(flood.lines.length - marks + dropped.reduce((sum, count) => sum + count, 0), 10_000);
    assertEquals(flood.lines.map((line) => line.sequence), flood.lines.map((_, index) => index));
  });
});

Deno.test("the console of job code becomes log lines, and so does what it writes: the protocol is not broken", async () => {
  await withPool({}, async (pool) => {
    const said = misbehave(pool, "console");
    assertEquals((await said.ended).kind, "completed");
    assertEquals(said.lines.map(({ level, message }) => [level, message]), [
      ["info", 'said { to: "the console" }'],
      ["error", "and in anger"],
    ]);
    const wrote = misbehave(pool, "write-stdout");
    assertEquals((await wrote.ended).kind, "completed");
    assertEquals(wrote.lines[0]?.message, "\x1e1 [[1,1,");
    assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
  });
});

Deno.test("job code gets the granted permissions and no others, and cannot reach its siblings or its host", async () => {
  const file = await Deno.makeTempFile();
  try {
    const denied = {
      read: "NotCapable",
      write: "NotCapable",
      env: "NotCapable",
      net: "NotCapable",
      run: "NotCapable",
      kill: "TypeError",
      worker: "TypeError",
    };
    await withPool({}, async (pool) => {
      const outcome = await misbehave(pool, "reach-out", { path: file }).ended;
      assertEquals(outcome, { kind: "completed", result: JSON.stringify(denied) });
    });
    await withPool(
      { consumers: { MisbehaveJob: { permissions: { read: [file], env: ["HOME"] } } } },
      async (pool) => {
        const outcome = await misbehave(pool, "reach-out", { path: file }).ended;
        assertEquals(outcome, {
          kind: "completed",
          result: JSON.stringify({ ...denied, read: "done", env: "done" }),
        });
      },
    );
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("offers say what job file and configuration decide, the configuration first", async () => {
  const consumers = { ContextJob: { executionTimeoutSeconds: 9, threads: 2, routingPattern: "context.*" } };
  await withPool({ consumers, types: ["ContextJob", "AnyDataJob"] }, (pool, log) => {
    const [any, context] = pool.jobTypes;
    assertEquals(pool.jobTypes.length, 2);
    assertEquals(any, {
      name: "AnyDataJob",
      description: "",
      schema: null,
      routingPattern: "anydata.*",
      maxParallelJobs: 4,
      threads: 4,
      isolation: "lane",
      executionTimeoutSeconds: 3600,
      maxRetries: 3,
      baseRetryDelaySeconds: 5,
      maxRetryDelaySeconds: 3600,
      retryBudgetSeconds: null,
      retryRules: [],
    });
    assertEquals(context?.maxParallelJobs, 3);
    assertEquals([context?.executionTimeoutSeconds, context?.threads], [9, 2]);
    assertEquals(context?.routingPattern, "context.*");
    assertEquals(context?.schema?.["type"], "object");
    assertMatch(log.lines[0]?.message ?? "", /asks for permissions that are not granted/);
    return Promise.resolve();
  });
  await withPool({ trustedFolders: [supportFolder("jobs")] }, (_pool, log) => {
    assertEquals(log.lines, [], "a trusted folder's files get what they ask for");
    return Promise.resolve();
  });
});

Deno.test("a job file may lie anywhere: it imports milvaion by name and its own helpers by path", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/lib`);
    await Deno.writeTextFile(
      `${folder}/lib/greet.ts`,
      "export const greet = (name: string) => `Hi ${name}`;",
    );
    await Deno.writeTextFile(
      `${folder}/greet_job.ts`,
      `import { defineJob, z } from "milvaion";
       import { greet } from "./lib/greet.ts";
       export default defineJob({
         name: "GreetJob",
         data: z.object({ name: z.string() }),
         run: ({ data, log, progress, signal }) => {
           signal.throwIfAborted();
           progress(1, 1);
           log.info("Greeting");
           return greet(data.name);
         },
       });`,
    );
    await withPool({ jobFolders: [folder, supportFolder("jobs")] }, async (pool) => {
      const greeted = attempt(pool, "GreetJob", { name: "Ada" });
      assertEquals(await greeted.ended, { kind: "completed", result: '"Hi Ada"' });
      assertEquals(greeted.lines[0]?.message, "Greeting");
      assertEquals((await attempt(pool, "AnyDataJob", {}).ended).kind, "completed");
      assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
      assertEquals(pool.figures().hosts, 2, "types of one folder with equal permissions share a host");
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a job file that changed and no longer loads fails its attempts with the reason", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/frail_job.ts`;
    await Deno.writeTextFile(
      file,
      `import { defineJob } from "milvaion"; export default defineJob({ name: "FrailJob", run: () => 1 });`,
    );
    await withPool({ jobFolders: [folder] }, async (pool) => {
      await Deno.writeTextFile(file, "throw new Error('broken by an edit');\nexport default 0;");
      const outcome = await attempt(pool, "FrailJob", {}).ended;
      assert(outcome.kind === "failed");
      assertEquals(outcome.cause, "crashed");
      assertMatch(outcome.error.message, /broken by an edit/);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("hosts say what processor time they take, and one that has ended is not forgotten", async () => {
  await withPool({}, async (pool) => {
    const burning = misbehave(pool, "burn", { ms: 60_000 });
    await burning.started;
    await until(() => pool.figures().cpuMs >= 300);
    burning.job.cancel("cancelled", "enough");
    await burning.ended;
    await until(() => pool.figures().hosts === 0);
    assert(pool.figures().cpuMs >= 300);
  });
});

Deno.test("attempts of one type run at once in as many lanes as it has, and nothing runs before there is work", async () => {
  await withPool({}, async (pool) => {
    assertEquals(pool.figures(), { hosts: 0, threads: 0, busy: 0, rssBytes: 0, cpuMs: 0 });
    const all = Array.from({ length: 4 }, () => misbehave(pool, "ignore"));
    await Promise.all(all.map((one) => one.started));
    assertEquals(pool.figures().busy, 4);
    assertEquals(pool.figures().hosts, 1);
    for (const one of all) one.job.cancel("cancelled", "enough");
    assertEquals(
      new Set((await Promise.all(all.map((one) => one.ended))).map(({ kind }) => kind)),
      new Set(["cancelled"]),
    );
    assertEquals(pool.figures().busy, 0);
  });
});

Deno.test("an attempt behind one that spins is taken back and runs in another thread", async () => {
  await withPool({}, async (pool) => {
    await misbehave(pool, "sleep").ended;
    // Sent in one message, so both go to the one thread there is.
    const burning = misbehave(pool, "burn", { ms: 2000 });
    const behind = misbehave(pool, "sleep");
    await behind.ended;
    const first = await Promise.race([burning.ended, behind.ended.then(() => "behind")]);
    assertEquals(first, "behind");
    assertEquals((await burning.ended).kind, "completed");
  });
});

Deno.test("thousands of attempts of every length each end once, whatever thread they move to", async () => {
  await withPool({ maxParallelJobs: 40 }, async (pool) => {
    const outcomes: string[] = [];
    let next = 0;
    const lane = async () => {
      while (next < 3000) {
        const turn = next++;
        const ms = turn % 101 === 0 ? 30 : 0;
        const { kind } = await misbehave(pool, turn % 2 === 0 ? "burn" : "sleep", { ms }).ended;
        outcomes.push(kind);
      }
    };
    await Promise.all(Array.from({ length: 40 }, lane));
    assertEquals(outcomes.length, 3000);
    assertEquals(new Set(outcomes), new Set(["completed"]));
    assertEquals(pool.figures().busy, 0);
  });
});

Deno.test("idle threads and hosts end, and come back when there is work", async () => {
  await withPool({ idleMs: 40 }, async (pool) => {
    await misbehave(pool, "sleep").ended;
    await until(() => pool.figures().hosts === 0);
    assertEquals((await misbehave(pool, "sleep").ended).kind, "completed");
  });
});

Deno.test("a stopped pool lets attempts that heed finish, hands the others back, and leaves no process", async () => {
  await withPool({}, async (pool) => {
    const heeding = misbehave(pool, "heed");
    const finishing = misbehave(pool, "heed-by-returning");
    const deaf = misbehave(pool, "ignore");
    await Promise.all([heeding.started, finishing.started, deaf.started]);
    const stopped = pool.stop(300);
    assertEquals(await heeding.ended, { kind: "handedBack", why: "stopping" });
    assertEquals(await finishing.ended, { kind: "completed", result: '"early"' });
    assertEquals(await deaf.ended, { kind: "handedBack", why: "stopping" });
    await stopped;
    const { cpuMs: _, ...left } = pool.figures();
    assertEquals(left, { hosts: 0, threads: 0, busy: 0, rssBytes: 0 });
    assertEquals(await misbehave(pool, "sleep").ended, { kind: "handedBack", why: "stopping" });
  });
});

Deno.test("a host that cannot be started fails its attempts and says why", async () => {
  const launched: string[] = [];
  const { launchDeno } = await import("./launch.ts");
  await withPool({
    launch: (request) => {
      launched.push(request.module);
      return request.module === "discover" ? launchDeno(request) : { command: "/nowhere/deno", args: [] };
    },
  }, async (pool) => {
    const outcome = await misbehave(pool, "sleep").ended;
    assert(outcome.kind === "failed");
    assertEquals(outcome.cause, "crashed");
    assertMatch(outcome.error.message, /Cannot start job code/);
  });
  assertEquals(launched, ["discover", "host"]);
});

Deno.test("a type that is not offered is a bug of the caller", async () => {
  await withPool({}, (pool) => {
    assertThrows(() => attempt(pool, "NoSuchJob", {}), TypeError, "NoSuchJob");
    return Promise.resolve();
  });
});

/** Polls with the system's timers: there is no event for a process that ends by itself. */
async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error("It did not come true within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
