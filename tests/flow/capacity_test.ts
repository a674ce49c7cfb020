/** The capacity planner and the scaler's answer on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { capacitySuite } from "./capacity.ts";

capacitySuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));
capacitySuite(
  "cluster",
  clusterGround,
  (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
);
