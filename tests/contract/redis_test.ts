/** The contracts of Redis on one server. */
import { temporaryPrefix } from "../support/servers.ts";
import { redisContract } from "./redis_contract.ts";

redisContract("redis", "redis", () => temporaryPrefix());
