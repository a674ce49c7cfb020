/** What suites of flows begin with: a node on a new ground, on a manual clock. */
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Ground } from "./ground.ts";
import { Node, type NodeOptions } from "./node.ts";

/** When the clock of a flow begins. */
export const FLOW_START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);

/** Where a suite runs, and how its promises are registered: `Deno.test`, or one that leaves out what cannot be had. */
export interface FlowPlace {
  readonly name: string;
  readonly openGround: () => Promise<Ground>;
  readonly test: (name: string, fn: () => Promise<void>) => void;
}

export type WithNode = (
  options: Partial<NodeOptions>,
  work: (node: Node, clock: ManualClock, ground: Ground) => Promise<Node | void>,
) => Promise<void>;

/** `promise` registers one; `withNode` runs it with a node on a new ground, which is cleared away afterwards. */
export function flowAt({ name, openGround, test }: FlowPlace): {
  readonly promise: (sentence: string, fn: () => Promise<void>) => void;
  readonly withNode: WithNode;
} {
  return {
    promise: (sentence, fn) => test(`${name}: ${sentence}`, fn),
    async withNode(options, work) {
      await using ground = await openGround();
      const clock = new ManualClock({ now: FLOW_START });
      await Node.during({ ground, clock, ...options }, (node) => work(node, clock, ground));
    },
  };
}
