/** Lost messages on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { recoverySuite } from "./recovery.ts";

recoverySuite({ name: "embedded", openGround: embeddedGround, test: (name, fn) => Deno.test(name, fn) });
recoverySuite({
  name: "cluster",
  openGround: clusterGround,
  test: (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
});
