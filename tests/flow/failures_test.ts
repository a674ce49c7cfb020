/** Retries, lost workers and jobs that keep failing, on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { failureSuite } from "./failures.ts";

failureSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));
failureSuite(
  "cluster",
  clusterGround,
  (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
);
