/** Dead letters and bulk actions on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { deadLettersSuite } from "./dead_letters.ts";

deadLettersSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));
deadLettersSuite(
  "cluster",
  clusterGround,
  (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn),
);
