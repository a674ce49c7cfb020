/** `milvaion workers list` and `milvaion leadership`: who works, and who leads. */
import type { JsonObject } from "./api_client.ts";
import { shownList, shownRecord, type Verb } from "./verb.ts";

/** Verbs on workers and leadership. */
export const FLEET_VERBS: readonly Verb[] = [
  {
    name: "workers list",
    about: "List the worker instances that are there",
    positionals: [],
    options: [],
    example: "milvaion workers list",
    async perform({ client }) {
      return shownList((await client.send("GET", "workers")).body, {
        POOL: (worker) => worker["workerId"],
        INSTANCE: (worker) => worker["instanceId"],
        HOST: (worker) => worker["hostName"],
        VERSION: (worker) => worker["version"],
        BUSY: (worker) => `${worker["lanesBusy"]}/${worker["maxParallelJobs"]}`,
        SEEN: (worker) => worker["lastSeenAt"],
        "JOB TYPES": typesOf,
      });
    },
  },
  {
    name: "leadership",
    about: "Say which instance leads, and which did before",
    positionals: [],
    options: [],
    example: "milvaion leadership",
    async perform({ client }) {
      return shownRecord((await client.send("GET", "leadership")).body);
    },
  },
];

function typesOf(worker: JsonObject): string {
  const types = worker["jobTypes"];
  return Array.isArray(types) ? types.map((type) => type?.name).join(", ") : "";
}
