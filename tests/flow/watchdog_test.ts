/** The watchdog on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { watchdogSuite } from "./watchdog.ts";

watchdogSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn), { healthyMinutes: 60 });
/** A manual minute takes seconds on real servers. */
watchdogSuite(
  "cluster",
  clusterGround,
  (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
  { healthyMinutes: 8 },
);
