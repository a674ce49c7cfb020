/** Retries, lost workers and jobs that keep failing, on the real actors and real adapters, with a manual clock. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Outcome } from "../../actors/domain/message.ts";
import type { LiveEvent } from "../../actors/ports/events.ts";
import type { ReportQueue } from "../../actors/ports/queue.ts";
import { type Behaviour, completed, failed } from "../support/in_process_pool.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { flowAt } from "../support/flow.ts";
import type { Ground } from "../support/ground.ts";
import { Node, settle } from "../support/node.ts";
import { KeptLog } from "../support/quiet.ts";

const MINUTE = 60_000;
const RULE = { isEnabled: true, failures: 3, windowMinutes: 10, cooldownMinutes: 5 };

const permanently: Outcome = failed("no", { permanent: true });

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function failureSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const { promise, withNode } = flowAt({ name, openGround, test });

  promise(
    "a job is tried again when it asked to be, and no more once its budget is over; its lane is free meanwhile",
    () =>
      withNode({
        behaviour: ({ attempt }) => ({
          afterMs: 0,
          outcome: { ...failed(`try ${attempt}`), retryAfterMs: 40_000 } as Outcome,
        }),
      }, async (node, clock) => {
        const job = await node.createJob({ retryBudgetSeconds: 100, maxRetries: 50 });
        await node.trigger(job.id);
        await clock.advance(20_000);
        const lanes = (await node.adapters.queue.depth()).reduce((sum, one) => sum + one.unacknowledged, 0);
        assertEquals(lanes, 0, "nothing is held by what waits");
        await clock.advance(200_000);
        await settle(node);
        const [occurrence] = await node.occurrences(job.id);
        assertEquals([occurrence?.status, occurrence?.attempt], ["Failed", 3]);
        assertMatch(occurrence?.reason ?? "", /as the job asked, after the budget of 100 s/);
        const detail = await node.adapters.store.history.occurrence(occurrence?.id ?? "");
        assertEquals(detail?.attempts.map((one) => [one.number, one.outcome, one.error?.message]), [
          [1, "failed", "try 1"],
          [2, "failed", "try 2"],
          [3, "failed", "try 3"],
        ]);
        for (const { token } of detail?.attempts ?? []) {
          const { items } = await node.adapters.store.lines.read(occurrence?.id ?? "", 10, null, token);
          assertEquals(items.map((line) => line.message), [`attempt ${token}`]);
        }
      }),
  );

  promise(
    "a run whose workers die twice is kept back as suspect, with its last output, and not run in a loop",
    () =>
      withNode(
        { behaviour: () => ({ afterMs: MINUTE * 60, outcome: completed }) },
        async (node, clock, ground) => {
          const job = await node.createJob({});
          await node.trigger(job.id);
          await clock.advance(1000);
          await settle(node);
          await node.crash();
          const second = await Node.start({
            ground,
            clock,
            seed: 2,
            behaviour: () => ({ afterMs: MINUTE * 60, outcome: completed }),
          });
          await clock.advance(30_000 + ground.lossNoticedMs);
          await settle(second);
          assertEquals((await second.occurrences(job.id)).map((one) => [one.status, one.token]), [[
            "Running",
            2,
          ]]);
          await second.crash();
          const third = await Node.start({ ground, clock, seed: 3 });
          await clock.advance(30_000 + ground.lossNoticedMs);
          await settle(third);
          await clock.advance(10 * MINUTE);
          const [occurrence] = await third.occurrences(job.id);
          assertEquals([occurrence?.status, third.pool.started.length], ["Failed", 0]);
          assertMatch(occurrence?.reason ?? "", /^suspect: The worker instance \S+ went silent/);
          const detail = await third.adapters.store.history.occurrence(occurrence?.id ?? "");
          assertEquals(detail?.attempts.map((one) => [one.number, one.outcome]), [[null, "lost"], [
            null,
            "lost",
          ]]);
          const last = await third.adapters.store.lines.last(occurrence?.id ?? "", 2, 5);
          assertEquals(last.map((line) => line.message), ["attempt 1"]);
          return third;
        },
      ),
  );

  promise(
    "a run whose reports do not arrive while its worker is there runs again, and is not held to take workers down",
    () => {
      let swallowed = 0;
      const swallowing = (reports: ReportQueue): ReportQueue => ({
        sendReports: async (some) => {
          // Safe with the broker, as far as the worker knows, and stuck there.
          if (swallowed >= 3) return await reports.sendReports(some);
          swallowed += some.length;
        },
        heldBack: () => reports.heldBack(),
        sendLines: (lines) => reports.sendLines(lines),
        sendProgress: (progress) => reports.sendProgress(progress),
        sendSignal: (signal) => reports.sendSignal(signal),
        receive: (handlers) => reports.receive(handlers),
      });
      return withNode({
        behaviour: () => ({ afterMs: 100, outcome: completed }),
        replace: (adapters) => ({ ...adapters, reports: swallowing(adapters.reports) }),
      }, async (node, clock) => {
        const job = await node.createJob({});
        await node.trigger(job.id);
        await clock.advance(2 * MINUTE);
        await settle(node);
        const [occurrence] = await node.occurrences(job.id);
        assertEquals([occurrence?.status, occurrence?.attempt, occurrence?.token], ["Completed", 1, 4]);
        const detail = await node.adapters.store.history.occurrence(occurrence?.id ?? "");
        assertEquals(detail?.attempts.map((one) => one.outcome), ["lost", "lost", "lost", "completed"]);
        assertMatch(
          detail?.changes.find((one) => one.from === "Running" && one.to === "Queued")?.reason ?? "",
          /^The worker instance \S+ does not run this any more, and no report of it has come; it runs again/,
        );
      });
    },
  );

  promise(
    "a job that keeps failing is disabled, probed by one due time after its cool-down, and goes on when that completes",
    () => {
      let outcome: Outcome = permanently;
      const behaviour: Behaviour = () => ({ afterMs: 0, outcome });
      return withNode({ behaviour }, async (node, clock) => {
        const told: LiveEvent[] = [];
        const stop = node.adapters.events.subscribe(["jobAutoDisabled"], (events) => told.push(...events));
        const job = await node.createJob({ cronExpression: "0 * * * * *", autoDisable: RULE });
        const state = async () => (await node.adapters.store.jobs.get(job.id))?.autoDisabled ?? null;
        await clock.advance(7 * MINUTE);
        await settle(node);
        assertEquals((await node.occurrences(job.id)).map((one) => one.status), [
          "Failed",
          "Failed",
          "Failed",
        ]);
        assert(node.log.complaints.includes("A job is disabled because it keeps failing"));

        await clock.advance(MINUTE);
        await settle(node);
        const probed = await node.occurrences(job.id);
        assertEquals([probed.length, probed.at(-1)?.status], [4, "Failed"], "one probe, and it failed");
        assertEquals((await state())?.cooldownSeconds, 600);

        outcome = completed;
        await clock.advance(13 * MINUTE);
        await settle(node);
        const found = await node.occurrences(job.id);
        const ran = found.filter((one) => one.status === "Completed");
        assert(ran.length >= 2, "the probe, and what followed");
        assertEquals(await state(), null);
        const ranges = await node.adapters.store.history.ranges(job.id, 10);
        assertEquals(ranges.map((one) => one.reason), ["auto-disabled", "auto-disabled"]);
        const decided = found.length + ranges.reduce((sum, range) => sum + range.count, 0);
        assertEquals(decided, 21, "every due time has its verdict");
        const changes = told.map((event) => event.type === "jobAutoDisabled" && event.change);
        assertEquals(changes, ["disabled", "probeFailed", "enabled"]);
        stop();
      });
    },
  );

  promise("a job that is enabled by hand while nobody leads does not run what was due before", () => {
    let outcome: Outcome = permanently;
    return withNode({ behaviour: () => ({ afterMs: 0, outcome }) }, async (node, clock, ground) => {
      const job = await node.createJob({ cronExpression: "0 * * * * *", autoDisable: RULE });
      await clock.advance(4 * MINUTE);
      await settle(node);
      await node.stop();
      await clock.advance(20 * MINUTE);
      const random = seededRandom(5, clock);
      const standing = await ground.open({ clock, random, log: new KeptLog(), instanceId: "person" });
      const enabledAt = clock.now();
      const enabled = await standing.adapters.store.jobs.enable(job.id, enabledAt);
      assert(
        enabled.ok && enabled.job.autoDisabled?.until === enabledAt,
        "there are due times to be recorded",
      );
      await standing.close();
      outcome = completed;
      const next = await Node.start({
        ground,
        clock,
        seed: 2,
        behaviour: () => ({ afterMs: 0, outcome }),
      });
      await clock.advance(2 * MINUTE);
      await settle(next);
      const found = await next.occurrences(job.id);
      const ran = found.filter((one) => one.status === "Completed");
      assert(
        ran.length > 0 && ran.every((one) => one.scheduledFor >= enabledAt),
        "only what came since runs",
      );
      const ranges = await next.adapters.store.history.ranges(job.id, 10);
      assertEquals(ranges.map((one) => one.reason), ["auto-disabled"]);
      assertEquals((await next.adapters.store.jobs.get(job.id))?.autoDisabled, null);
      return next;
    });
  });
}
