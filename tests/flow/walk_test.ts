/** The walk on both grounds. */
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { serverTest } from "../support/servers.ts";
import { walkSuite } from "./walk.ts";

walkSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));
walkSuite("cluster", clusterGround, (name, fn) => serverTest(["postgres", "redis", "rabbitmq"], name, fn));
