/**
 * The consumers of a worker, one a job type. When the worker is told to stop they stop together, so that what runs of
 * all types shares one grace and nobody takes work meanwhile.
 */
import type { JobTypeOffer } from "./domain/job_type.ts";
import { consumerActor, type ConsumerDeps } from "./consumer.ts";
import { type ActorDefinition, type ActorRef, STOP } from "./runtime/actor.ts";
import { DEFAULT_SUPERVISION } from "./runtime/supervision.ts";

export interface ConsumersOptions {
  readonly jobTypes: readonly JobTypeOffer[];
  readonly leaseMs: number;
}

export function consumersActor(
  deps: ConsumerDeps,
  { jobTypes, leaseMs }: ConsumersOptions,
): ActorDefinition<readonly ActorRef<never>[], never> {
  return {
    kind: "consumers",
    supervision: { ...DEFAULT_SUPERVISION, maxRestarts: 10 },
    start: (context) =>
      jobTypes.map((offer) =>
        context.spawn(`consumer-${offer.name}`, consumerActor(deps, { offer, leaseMs }))
      ),
    receive: (consumers) => consumers,
    stopping(consumers, context) {
      deps.heartbeat.tell({ type: "workerStops" });
      // Children are ended one after another: each is asked before the first has ended.
      for (const consumer of consumers) context.stopChild(consumer);
      return STOP;
    },
  };
}
