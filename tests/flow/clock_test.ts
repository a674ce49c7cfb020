/** A clock that is set, on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { clockSuite } from "./clock.ts";

clockSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn), { minutes: 60 });
/** A manual minute takes seconds on real servers. */
clockSuite(
  "cluster",
  clusterGround,
  (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
  { minutes: 5 },
);
