/** Lanes that do not idle, on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import type { FlowPlace } from "../support/flow.ts";
import { serverTest } from "../support/servers.ts";
import { lanesSuite, turnsSuite } from "./lanes.ts";

const PLACES: readonly FlowPlace[] = [
  { name: "embedded", openGround: embeddedGround, test: (name, fn) => Deno.test(name, fn) },
  {
    name: "cluster",
    openGround: clusterGround,
    test: (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
  },
];

for (const place of PLACES) {
  lanesSuite(place);
  turnsSuite(place);
}
