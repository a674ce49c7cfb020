/** Downtime, pauses, skipped due times and run limits on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { controlSuite } from "./control.ts";

controlSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));
controlSuite(
  "cluster",
  clusterGround,
  (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
);
