/** Failing ports on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { faultsSuite } from "./faults.ts";

faultsSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));

/** A manual minute takes seconds on real servers, an hour minutes; and who survives the harder fault survives both. */
const IS_LEFT_TO_EMBEDDED =
  /an index that was lost|either path keeps a run| fails three times|when (due|put|renewEpoch) /;

faultsSuite("cluster", clusterGround, (name, fn) => {
  if (!IS_LEFT_TO_EMBEDDED.test(name)) serverTest(["postgres", "redis", "rabbitmq"], name, fn);
});
