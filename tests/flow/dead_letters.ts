/** From the failure to the replay: dead letters and bulk actions on the real actors. One suite, two grounds. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { announceBulk } from "../../actors/announce.ts";
import type { BulkAction } from "../../actors/domain/bulk_action.ts";
import type { BulkSelection } from "../../actors/ports/bulk_actions.ts";
import { Faults } from "../support/faulty.ts";
import { flowAt } from "../support/flow.ts";
import type { Ground } from "../support/ground.ts";
import { completed, failed } from "../support/in_process_pool.ts";
import { Node, settle } from "../support/node.ts";

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function deadLettersSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const { promise, withNode } = flowAt({ name, openGround, test });

  /** Makes an action as the API does. */
  async function bulk(
    node: Node,
    selection: BulkSelection,
    options: { readonly canary?: boolean; readonly ratePerSecond?: number } = {},
  ): Promise<string> {
    const answer = await node.adapters.store.bulk.create({
      id: node.random.uuid(),
      selection,
      ratePerSecond: options.ratePerSecond ?? 1000,
      canary: options.canary ?? false,
      force: false,
      reason: "again",
      by: "ann",
      expectedCount: null,
      at: node.clock.now(),
      idempotency: null,
    });
    assert(answer.ok, JSON.stringify(answer));
    announceBulk({ ...node.adapters, clock: node.clock }, answer.action);
    await settle(node);
    return answer.action.id;
  }

  const actionOf = async (node: Node, id: string): Promise<BulkAction> => {
    const action = await node.adapters.store.bulk.get(id);
    assert(action !== null);
    return action;
  };

  /** Lets the action go on until it has ended, within a generous time. */
  async function ended(node: Node, id: string): Promise<BulkAction> {
    for (let second = 0; second < 60; second += 1) {
      const action = await actionOf(node, id);
      if (action.endedAt !== null && action.counts.on === 0) return action;
      await node.clock.advance(1000);
      await settle(node);
    }
    return await actionOf(node, id);
  }

  /** Triggers runs of a job that fail for good. */
  async function failMany(node: Node, jobId: string, count: number): Promise<readonly string[]> {
    const ids = await node.trigger(jobId, count);
    assert(typeof ids !== "string", String(ids));
    await node.clock.advance(2000);
    await settle(node);
    const { items } = await node.adapters.store.failed.list({ jobId }, 200, null);
    assertEquals(items.length, count);
    return ids;
  }

  promise(
    "what fails for good is replayed as a new run with its payload, and resolved when that completes",
    () => {
      let isWell = false;
      return withNode({
        behaviour: () => ({
          afterMs: 5,
          outcome: isWell ? completed : failed("no luck 7", { permanent: true }),
        }),
      }, async (node, clock) => {
        const job = await node.createJob({ concurrentExecutionPolicy: "Allow", jobData: '{"day":1}' });
        const [id = ""] = await failMany(node, job.id, 1);
        isWell = true;
        const action = await ended(node, await bulk(node, { kind: "replay", ids: [id] }));
        assertEquals([action.state, action.counts.succeeded], ["completed", 1]);
        await clock.advance(100);
        const letter = await node.adapters.store.failed.get(id);
        const [link] = letter?.replays ?? [];
        assertEquals([letter?.failed.resolution?.action, link?.status, link?.actionId], [
          "Replayed",
          "Completed",
          action.id,
        ]);
        const again = await node.adapters.store.history.occurrence(link?.occurrenceId ?? "");
        assertEquals([again?.occurrence.origin, again?.occurrence.jobData, again?.replayOf], [
          "replay",
          '{"day":1}',
          id,
        ]);
        assertEquals((await node.adapters.store.history.occurrence(id))?.occurrence.status, "Failed");
      });
    },
  );

  promise("a canary stops by itself when its first replay ends in the same error", () =>
    withNode({
      behaviour: (request) => ({
        afterMs: 5,
        outcome: failed(`Cannot reach 10.0.0.${request.token}, row ${request.occurrenceId}`, {
          permanent: true,
        }),
      }),
    }, async (node) => {
      const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
      await failMany(node, job.id, 8);
      const heard: string[] = [];
      const end = node.adapters.events.subscribe(["bulkActionChanged"], (events) => {
        for (const event of events) if (event.type === "bulkActionChanged") heard.push(event.state);
      });
      const filter = { jobId: job.id, isResolved: false };
      const action = await ended(node, await bulk(node, { kind: "replay", filter }, { canary: true }));
      end();
      assertEquals([action.state, action.counts.failed, action.counts.waiting], ["stopped", 1, 7]);
      assertMatch(action.stateReason ?? "", /same error/);
      assertEquals(node.pool.started.length, 9, "eight failed, one was replayed");
      assertEquals(heard.at(-1), "stopped");
      assertEquals((await node.adapters.store.failed.list({ isResolved: false }, 50, null)).items.length, 8);
    }));

  promise(
    "a canary that goes well goes on to all, ten after the first, and leaves nothing unresolved",
    () => {
      let isWell = false;
      return withNode({
        behaviour: () => ({ afterMs: 300, outcome: isWell ? completed : failed("no", { permanent: true }) }),
      }, async (node) => {
        const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
        await failMany(node, job.id, 14);
        isWell = true;
        const filter = { jobType: "SampleJob", isResolved: false };
        const action = await ended(node, await bulk(node, { kind: "replay", filter }, { canary: true }));
        assertEquals([action.state, action.counts.succeeded], ["completed", 14]);
        const replays = node.pool.started.slice(14).map((one) => one.scheduledFor);
        const [first = 0, second = 0] = replays;
        assert(second >= first + 300, "the second begins when the first has ended");
        assert((replays[11] ?? 0) >= (replays[10] ?? 0) + 300, "the twelfth when ten more have");
        assertEquals((await node.adapters.store.failed.list({ isResolved: false }, 50, null)).items, []);
      });
    },
  );

  promise(
    "a leader that dies in the middle of a bulk action leaves it to the next, and nothing is replayed twice",
    () => {
      let isWell = false;
      const behaviour = () => ({
        afterMs: 10,
        outcome: isWell ? completed : failed("no", { permanent: true }),
      });
      return withNode({ behaviour }, async (node, clock, ground) => {
        const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
        const ids = await failMany(node, job.id, 12);
        isWell = true;
        const action = await bulk(node, { kind: "replay", filter: { jobId: job.id } }, { ratePerSecond: 2 });
        await clock.advance(2000);
        const before = await actionOf(node, action);
        assert(before.counts.waiting > 0 && before.counts.waiting < 12, JSON.stringify(before.counts));
        await node.crash();
        const next = await Node.start({ ground, clock, seed: 2, behaviour });
        await clock.advance(ground.lossNoticedMs);
        const after = await ended(next, action);
        assertEquals([after.state, after.counts.succeeded], ["completed", 12]);
        for (const id of ids) {
          const letter = await next.adapters.store.failed.get(id);
          assertEquals(letter?.replays.map((one) => one.actionId), [action]);
        }
        return next;
      });
    },
  );

  for (const fault of ["fails", "fails-afterwards"] as const) {
    promise(
      `when a step of a bulk action ${fault} three times, each item is replayed once all the same`,
      () => {
        let isWell = false;
        const faults = new Faults();
        return withNode({
          faults,
          behaviour: () => ({ afterMs: 10, outcome: isWell ? completed : failed("no", { permanent: true }) }),
        }, async (node, clock) => {
          const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
          const ids = await failMany(node, job.id, 6);
          isWell = true;
          faults.plan("step", fault, 3);
          const id = await bulk(node, { kind: "replay", filter: { jobId: job.id } });
          const action = await ended(node, id);
          // What was committed and not told of is published by recovery.
          await clock.advance(15_000);
          await settle(node);
          assertEquals([action.state, action.counts.succeeded], ["completed", 6]);
          const replayed = node.pool.started.slice(6).map((one) => one.occurrenceId);
          assertEquals([replayed.length, new Set(replayed).size], [6, 6]);
          for (const one of ids) {
            const letter = await node.adapters.store.failed.get(one);
            assertEquals(letter?.replays.map((link) => link.status), ["Completed"]);
          }
        });
      },
    );
  }

  promise(
    "a bulk cancellation ends what is queued, stops what runs, and says who and why",
    () =>
      withNode({ behaviour: () => ({ afterMs: 3_600_000, outcome: completed }) }, async (node, clock) => {
        const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
        const other = await node.createJob({ concurrentExecutionPolicy: "Allow" });
        await node.trigger(job.id, 10);
        await node.trigger(other.id, 1);
        await clock.advance(1000);
        const action = await ended(node, await bulk(node, { kind: "cancel", filter: { jobId: job.id } }));
        assertEquals([action.state, action.counts.succeeded, action.counts.skipped], ["completed", 10, 0]);
        const found = await node.occurrences(job.id);
        assertEquals(found.map((one) => one.status), found.map(() => "Cancelled"));
        assertEquals(
          found.map((one) => [one.cancel?.by, one.cancel?.reason]),
          found.map(() => ["ann", "again"]),
        );
        assert((await node.occurrences(other.id)).every((one) => one.status !== "Cancelled"));
      }),
  );
}
