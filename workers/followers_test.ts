import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { attempt, type KeptAttempt, misbehave, withPool } from "../tests/support/pool.ts";

/** Behind another one: it only sleeps. */
function behind(pool: Parameters<typeof misbehave>[0], before: KeptAttempt, ms = 0): KeptAttempt {
  return misbehave(pool, "sleep", { ms }, {}, before);
}

const COMPLETED = { kind: "completed", result: null } as const;

Deno.test("an attempt behind another begins when that one has ended, in the same thread, and so does the one behind it", async () => {
  await withPool({}, async (pool) => {
    const order: string[] = [];
    // Long enough to be on when the next one is placed, on a busy machine too.
    const first = misbehave(pool, "sleep", { ms: 1000 });
    void first.ended.then(() => order.push("first ended"));
    await first.started;
    const second = misbehave(pool, "heed", {}, {}, first);
    void second.started.then(() => order.push("second begun"));
    await second.started;
    const third = behind(pool, second);
    second.job.cancel("cancelled", "by the test");
    assertEquals([await first.ended, (await second.ended).kind, await third.ended], [
      COMPLETED,
      "cancelled",
      COMPLETED,
    ]);
    assertEquals(order, ["first ended", "second begun"]);
    assertEquals(pool.figures().threads, 1);
  });
});

Deno.test("behind one that has ended, or has not begun, an attempt still runs once, and not before it", async () => {
  await withPool({}, async (pool) => {
    const ended = misbehave(pool, "sleep");
    await ended.ended;
    assertEquals(await behind(pool, ended).ended, COMPLETED);

    const loading = attempt(pool, "ContextJob", { when: "2026-03-29T01:30:00Z" });
    const late = attempt(pool, "ContextJob", { when: "2026-03-29T01:30:00Z" }, {}, loading);
    assertEquals([(await loading.ended).kind, (await late.ended).kind], ["completed", "completed"]);
    assertGreaterOrEqual(await late.started, await loading.started);
  });
});

Deno.test("what waits behind another can be taken back, and is handed back without a run; what has begun stays", async () => {
  await withPool({}, async (pool) => {
    const before = misbehave(pool, "heed");
    await before.started;
    const sent = behind(pool, before);
    await misbehave(pool, "sleep").ended; // whatever was sent before it has arrived
    sent.job.recall();
    assertEquals(await sent.ended, { kind: "handedBack", why: "no-lane" });

    const unsent = behind(pool, before);
    unsent.job.recall();
    assertEquals(await unsent.ended, { kind: "handedBack", why: "no-lane" });

    before.job.recall();
    const next = behind(pool, before);
    before.job.cancel("cancelled", "by the test");
    assertEquals([(await before.ended).kind, await next.ended], ["cancelled", COMPLETED]);
  });
});

Deno.test("what waits behind another can be cancelled, and never runs; the one before it goes on", async () => {
  await withPool({}, async (pool) => {
    const before = misbehave(pool, "heed");
    await before.started;
    const follower = behind(pool, before);
    await misbehave(pool, "sleep").ended;
    follower.job.cancel("cancelled", "by the test");
    const first = await Promise.race([
      before.ended.then(() => "before"),
      follower.ended.then(() => "follower"),
    ]);
    assertEquals(first, "follower");
    assertEquals((await follower.ended).kind, "cancelled");
    before.job.cancel("cancelled", "by the test");
    assertEquals((await before.ended).kind, "cancelled");
  });
});

for (const [how, rung] of [["ignore", "terminated"], ["spin", "killed"]] as const) {
  Deno.test(`the one before it is ${rung}: what waits behind it runs elsewhere, or is handed back`, async () => {
    await withPool({}, async (pool) => {
      const before = misbehave(pool, how, {}, { timeoutMs: 100 });
      await before.started;
      const follower = behind(pool, before);
      const outcome = await before.ended;
      assertEquals([outcome.kind, outcome.kind === "timedOut" && outcome.rung], ["timedOut", rung]);
      const after = await follower.ended;
      assert(after.kind === "completed" || after.kind === "handedBack", after.kind);
    });
  });
}

Deno.test("a pool that stops hands back what waits behind another", async () => {
  await withPool({}, async (pool) => {
    const before = misbehave(pool, "ignore");
    await before.started;
    const follower = behind(pool, before);
    await pool.stop(0);
    assertEquals([(await before.ended).kind, (await follower.ended).kind], ["handedBack", "handedBack"]);
  });
});
