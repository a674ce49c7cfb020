/** `milvaion workers list`, `leadership` and `alerts list`: who works, who leads, and what is wrong. */
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
        "HELD BACK": (worker) => worker["reportsHeldBack"],
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
  {
    name: "alerts list",
    about: "List what the watchdogs found: open alerts, then those that ended last",
    positionals: [],
    options: [],
    example: "milvaion alerts list",
    async perform({ client }) {
      return shownList((await client.send("GET", "alerts")).body, {
        KIND: (alert) => alert["kind"],
        SEVERITY: (alert) => alert["severity"],
        RAISED: (alert) => alert["raisedAt"],
        ENDED: (alert) => alert["endedAt"],
        SENTENCE: (alert) => alert["sentence"],
      });
    },
  },
];

function typesOf(worker: JsonObject): string {
  const types = worker["jobTypes"];
  return Array.isArray(types) ? types.map((type) => type?.name).join(", ") : "";
}
