/**
 * What people do when something went wrong, or is to be left out: replay one failed occurrence or all of a job, cancel
 * all of a job, leave out a due time, enable what was disabled by its failures. What they were told is written down.
 */
import { announceBulk } from "../../actors/announce.ts";
import type { FailedOccurrence } from "../../actors/domain/failed_occurrence.ts";
import type { BulkSelection } from "../../actors/ports/bulk_actions.ts";
import { publishCommitted } from "../../actors/publish.ts";
import { DEFAULTS } from "../support/node.ts";
import type { Chance } from "./chance.ts";
import type { SimulatedNode } from "./simulated_node.ts";
import type { World } from "./world.ts";

/** A due time that somebody was told is left out. */
export interface LeftOut {
  readonly jobId: string;
  readonly dueAt: number;
}

/** What an answer says: an HTTP status, and what came to be. */
export interface Answer {
  readonly status: number;
  readonly occurrenceId: string | null;
}

export class Operators {
  readonly leftOut: LeftOut[] = [];

  constructor(private readonly world: World, private readonly chance: Chance) {}

  /** A failed occurrence to replay; null: there is none. */
  async failed({ ports }: SimulatedNode): Promise<FailedOccurrence | null> {
    const { items } = await ports.store.failed.list({ isResolved: false }, 20, null);
    return this.chance.oneOf(items) ?? null;
  }

  /** Replays a failed occurrence. `key` is its idempotency key, and its reason. */
  async replay(node: SimulatedNode, id: string, key: string): Promise<Answer> {
    const { ports } = node;
    const answer = await ports.store.failed.replay({
      id,
      occurrenceId: node.random.uuid(),
      at: node.clock.now(),
      jobData: null,
      // To force a run beside another is what Skip allows on request: the checker could not tell it from a fault.
      force: false,
      reason: key,
      by: "client",
      idempotency: { key, requestHash: id },
      defaultsOf: () => DEFAULTS,
    });
    if (!answer.ok) return { status: 409, occurrenceId: null };
    void publishCommitted(ports, answer.messages);
    return { status: 202, occurrenceId: answer.occurrenceId };
  }

  /** All failed ones of some job are replayed, or all active ones of this one cancelled, by filter. */
  async bulk(node: SimulatedNode, jobId: string): Promise<void> {
    const { ports } = node;
    const failed = this.chance.happens(0.7) ? await this.failed(node) : null;
    const isReplay = failed !== null;
    const selection: BulkSelection = isReplay
      ? { kind: "replay", filter: { jobId: failed.jobId, isResolved: false } }
      : { kind: "cancel", filter: { jobId } };
    const answer = await ports.store.bulk.create({
      id: node.random.uuid(),
      selection,
      ratePerSecond: this.chance.pick([1, 10, 100]),
      canary: isReplay && this.chance.happens(0.5),
      force: false,
      reason: "many at once",
      by: "client",
      expectedCount: null,
      at: node.clock.now(),
      idempotency: null,
    });
    if (answer.ok) announceBulk(ports, answer.action);
  }

  /** Leaves out the next due time of a job, unless one is left out already. */
  async skipNext(node: SimulatedNode, jobId: string): Promise<void> {
    const { ports } = node;
    const job = await ports.store.jobs.get(jobId);
    const since = node.clock.now();
    if (job === null || job.skippedDueTime !== null) return;
    const { nextDueAt } = job;
    if (nextDueAt === null || nextDueAt <= since) return;
    const skipped = { dueAt: nextDueAt, reason: "not that one", by: "client", since };
    const answer = await ports.store.jobs.skipDueTime(job, skipped);
    if (!answer.ok) return;
    this.leftOut.push({ jobId, dueAt: nextDueAt });
    ports.events.publish([{ type: "jobChanged", jobId, at: since }]);
  }

  /** Lets a job run again that was disabled because it kept failing. */
  async enable(node: SimulatedNode, jobId: string): Promise<void> {
    const { ports } = node;
    const answer = await ports.store.jobs.enable(jobId, node.clock.now());
    const nextDueAt = answer.ok ? answer.job.nextDueAt : null;
    if (nextDueAt !== null) await ports.dueIndex.put([{ jobId, dueAt: nextDueAt }]);
    ports.events.publish([{ type: "jobChanged", jobId, at: this.world.wall() }]);
  }
}
