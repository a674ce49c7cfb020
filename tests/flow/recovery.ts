/** What recovery does about messages that the queue lost, while work goes on. One suite, two grounds. */
import { assert, assertEquals } from "@std/assert";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Queue } from "../../actors/ports/queue.ts";
import { Faults } from "../support/faulty.ts";
import { flowAt, type FlowPlace } from "../support/flow.ts";
import { completed, offer } from "../support/in_process_pool.ts";
import { DEFAULTS, type Node, settle } from "../support/node.ts";

const SECOND = 1000;
/** So many rows recovery reads at once. */
const A_PAGE = 5000;
const ALLOW = { concurrentExecutionPolicy: "Allow" } as const;
/** A run takes a second. */
const behaviour = () => ({ afterMs: SECOND, outcome: completed });

/** Stands between recovery and the queue. */
class Between {
  /** What recovery gave to the queue. */
  readonly given: string[] = [];
  /** Their messages are taken, and never come. */
  readonly lost = new Set<string>();
  /** Types whose queue takes nothing more. */
  readonly full = new Set<string>();
  drained: Parameters<Queue["onDrained"]>[0] = () => assert(false, "recovery does not listen");

  wrap(queue: Queue): Queue {
    return {
      canPublish: () => queue.canPublish(),
      consume: (options, onDeliveries) => queue.consume(options, onDeliveries),
      depth: () => queue.depth(),
      onDrained: (listener) => {
        this.drained = listener;
        return queue.onDrained(listener);
      },
      publish: async (messages) => {
        this.given.push(...messages.map(({ occurrenceId }) => occurrenceId));
        const isLost = (one: JobMessage) => this.lost.has(one.occurrenceId);
        const isFull = (one: JobMessage) => this.full.has(one.jobType);
        const answers = await queue.publish(messages.filter((one) => !isLost(one) && !isFull(one)));
        let place = 0;
        return messages.map((one) =>
          isLost(one) ? "accepted" : isFull(one) ? "full" : answers[place++] ?? "full"
        );
      },
    };
  }
}

/** Makes an occurrence as somebody does who dies before it is published. */
async function unpublished(node: Node, jobId: string): Promise<string> {
  const [id = ""] = await allUnpublished(node, jobId, 1);
  return id;
}

async function allUnpublished(node: Node, jobId: string, count: number): Promise<readonly string[]> {
  const ids = Array.from({ length: count }, () => node.random.uuid());
  const answer = await node.adapters.store.outcomes.trigger({
    jobId,
    at: node.clock.now(),
    items: ids.map((occurrenceId) => ({ occurrenceId, jobData: null })),
    force: false,
    reason: null,
    by: "test",
    idempotency: null,
    defaultsOf: () => DEFAULTS,
  });
  assert(answer.ok);
  return ids;
}

async function statusOf(node: Node, occurrenceId: string): Promise<string | undefined> {
  const detail = await node.adapters.store.history.occurrence(occurrenceId);
  return detail?.occurrence.status;
}

/** Registers the suite. */
export function recoverySuite(place: FlowPlace): void {
  const { promise, withNode } = flowAt(place);

  function withRecovery(
    lanes: number,
    work: (node: Node, between: Between, faults: Faults) => Promise<void>,
  ): Promise<void> {
    const between = new Between();
    const faults = new Faults();
    return withNode(
      {
        offers: ["SampleJob", "OtherJob"].map((type) =>
          offer(type, { maxParallelJobs: lanes, threads: lanes })
        ),
        behaviour,
        faults,
        replace: (adapters) => ({ ...adapters, queue: between.wrap(adapters.queue) }),
      },
      (node) => work(node, between, faults),
    );
  }

  /** As much comes each second as is done in it, so that what waits gets neither less nor more. */
  async function underLoad(node: Node, jobId: string, lanes: number, seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      await node.trigger(jobId, lanes);
      await node.clock.advance(SECOND);
    }
    await settle(node);
  }

  promise(
    "a message that is lost while its queue is never empty is published again at the next look",
    () =>
      withRecovery(2, async (node, between) => {
        const job = await node.createJob(ALLOW);
        await node.trigger(job.id, 12);
        const id = await unpublished(node, job.id);
        between.lost.add(id);
        await underLoad(node, job.id, 2, 15);
        assertEquals(
          between.given.filter((one) => one === id).length,
          1,
          "it was published after 10 s, and lost",
        );
        between.lost.clear();
        await underLoad(node, job.id, 2, 40);
        assertEquals(await statusOf(node, id), "Completed");
        const depth = await node.adapters.queue.depth();
        assert(depth.some(({ ready }) => ready > 0), "it was not the empty queue that helped");
      }),
  );

  promise(
    "what waits in a long queue is not published again when it is looked at",
    () =>
      withRecovery(2, async (node, between) => {
        const job = await node.createJob(ALLOW);
        const backlog = await node.trigger(job.id, 110);
        assert(typeof backlog !== "string");
        await underLoad(node, job.id, 1, 20);
        const before = between.given.length;
        await underLoad(node, job.id, 1, 25);
        const waiting = await Promise.all(backlog.map((id) => statusOf(node, id)));
        assert(waiting.includes("Queued"), "some have been looked at after 40 s, and wait");
        assertEquals(between.given.slice(before).filter((id) => backlog.includes(id)), []);
      }),
  );

  promise(
    "a type whose queue is full hides nothing of another type, however much of it waits, and runs when there is room",
    () =>
      withRecovery(2, async (node, between) => {
        const job = await node.createJob(ALLOW);
        const other = await node.createJob({ ...ALLOW, jobType: "OtherJob" });
        between.full.add(job.jobType);
        const waiting: string[] = [];
        while (waiting.length <= A_PAGE) waiting.push(...await allUnpublished(node, job.id, 1000));
        await node.clock.advance(SECOND);
        const id = await unpublished(node, other.id);
        await node.clock.advance(12 * SECOND);
        assertEquals(await statusOf(node, id), "Completed");
        const later = await unpublished(node, other.id);
        await node.clock.advance(12 * SECOND);
        assertEquals(await statusOf(node, later), "Completed");

        between.full.clear();
        between.given.length = 0;
        between.drained(job.jobType, "room");
        await node.clock.advance(SECOND);
        assertEquals(new Set(between.given), new Set(waiting));
      }),
  );

  for (const [why, method] of [["new", "wantPublishing"], ["room", "recoverable"]] as const) {
    promise(
      `news of a queue ("${why}") that comes while the store is away is not forgotten`,
      () =>
        withRecovery(2, async (node, between, faults) => {
          const job = await node.createJob(ALLOW);
          const id = await unpublished(node, job.id);
          faults.plan(method, "fails");
          between.drained("SampleJob", why);
          await node.clock.advance(5 * SECOND);
          await settle(node);
          assertEquals(
            await statusOf(node, id),
            "Completed",
            "before its first look, which comes after 10 s",
          );
        }),
    );
  }
}
