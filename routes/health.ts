/** Health, and what runs here. Live: the process answers. Ready: it can do its work, so send it requests. */
import { z } from "zod";
import { OCCURRENCE_STATUSES } from "../actors/domain/occurrence.ts";
import type { ApiDeps } from "./deps.ts";
import { type Answer, type Endpoint, endpoint } from "./endpoint.ts";
import { problem } from "./errors.ts";

/** How long the store may take to show that it can be read and written, milliseconds. */
const STORE_DEADLINE_MS = 2000;
const TAG = "health";

const healthView = z.strictObject({ status: z.literal("ok") }).meta({ id: "Health" });

const replicaView = z.strictObject({
  name: z.string(),
  isUsed: z.boolean().describe("Lists are read from it now"),
  lagBytes: z.number().nullable().describe("What it has not got yet; null while nobody knows"),
  lagSeconds: z.number().nullable().describe("For how long it has lacked something; null while nobody knows"),
  problem: z.string().nullable().describe("Why it is not used"),
}).meta({ id: "ReadReplica" });

const aboutView = z.strictObject({
  name: z.literal("milvaion"),
  version: z.string(),
  instanceId: z.string(),
  store: z.string(),
  address: z.string().describe("Where the instance that answers listens"),
  misfireThresholdSeconds: z.number().describe(
    "A due time older than this counts as missed, unless its job says other",
  ),
  jobs: z.int(),
  activeJobs: z.int(),
  occurrences: z.record(z.enum(OCCURRENCE_STATUSES), z.int()).describe("How many there are of each status"),
  readReplicas: z.array(replicaView).describe("Copies of the store that this instance may list from"),
}).meta({ id: "About" });

/** The endpoints about this instance. `isStopping` is true from the first signal on. */
export function healthEndpoints(deps: ApiDeps, isStopping: () => boolean): readonly Endpoint[] {
  const { store, settings, log } = deps;

  async function ready(): Promise<Answer> {
    if (isStopping()) throw problem("not_ready", "This instance is stopping.");
    try {
      await store.check(STORE_DEADLINE_MS);
    } catch (error) {
      log.warn(`Cannot read and write the store: ${error instanceof Error ? error.message : error}`);
      throw problem("not_ready", "The store cannot be read and written.");
    }
    return { status: 200, body: { status: "ok" } };
  }

  const live = (path: string) =>
    endpoint({
      method: "GET",
      path,
      tag: TAG,
      summary: "Say whether the process is alive",
      answers: { 200: { description: "It is", schema: healthView } },
      problems: [],
      handle: () => ({ status: 200, body: { status: "ok" } }),
    });
  const readiness = (path: string) =>
    endpoint({
      method: "GET",
      path,
      tag: TAG,
      summary: "Say whether this instance can do its work",
      answers: { 200: { description: "It can", schema: healthView } },
      problems: ["not_ready"],
      handle: ready,
    });

  const about = endpoint({
    method: "GET",
    path: "/api/v1/about",
    tag: TAG,
    summary: "Say what runs here",
    answers: { 200: { description: "This instance, and how much it keeps", schema: aboutView } },
    problems: [],
    async handle({ context }) {
      const { history } = store.reads.reader(context.get("readAfter"));
      const { jobs, activeJobs, byStatus } = await history.counts();
      const body: z.output<typeof aboutView> = {
        name: "milvaion",
        version: settings.version,
        instanceId: settings.instanceId,
        store: settings.storeDescription,
        address: addressOf(settings),
        misfireThresholdSeconds: settings.misfireThresholdMs / 1000,
        jobs,
        activeJobs,
        occurrences: byStatus,
        readReplicas: [...store.reads.copies()],
      };
      return { status: 200, body };
    },
  });

  return [
    live("/livez"),
    readiness("/readyz"),
    live("/api/v1/healthcheck/live"),
    readiness("/api/v1/healthcheck/ready"),
    about,
  ];
}

function addressOf({ host, port }: ApiDeps["settings"]): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
