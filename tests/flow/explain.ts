/** Each cause brought about for real, on the real actors, and asked for over the API. One suite, two grounds. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Ground } from "../support/ground.ts";
import { completed, failed, offer } from "../support/in_process_pool.ts";
import { Node, type NodeOptions, settle } from "../support/node.ts";
import { askNode, type NodeServers } from "../support/node_api.ts";

const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);
const LONG = () => ({ afterMs: 3_600_000, outcome: completed });

/** Explains as an API instance that stands on the node's ports. */
export function explained(node: Node, path: string, servers: NodeServers = []) {
  return askNode(node, `${path}/explain`, servers);
}

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function explainSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const promise = (
    sentence: string,
    options: Partial<NodeOptions>,
    work: (node: Node, clock: ManualClock) => Promise<void>,
  ) =>
    test(`${name} explain: ${sentence}`, async () => {
      await using ground = await openGround();
      const clock = new ManualClock({ now: START });
      await Node.during({ ground, clock, ...options }, (node) => work(node, clock));
    });

  /** The code that the job's present has among its causes, with its sentence. */
  async function cause(node: Node, jobId: string, code: string): Promise<string> {
    await settle(node);
    const body = await explained(node, `jobs/${jobId}`);
    const found = body.causes.find((one: { code: string }) => one.code === code);
    assert(found !== undefined, `${code} is among ${JSON.stringify(body.causes)}`);
    return found.sentence;
  }

  promise("a type that no worker offers, and a pool where it is not", {}, async (node, clock) => {
    const foreign = await node.createJob({ jobType: "OtherJob" });
    const pinned = await node.createJob({ workerId: "mail" });
    const [id = ""] = await node.trigger(foreign.id);
    const [other = ""] = await node.trigger(pinned.id);
    await clock.advance(6000);
    assertStringIncludes(await cause(node, foreign.id, "no-worker"), "No worker offers OtherJob");
    assertStringIncludes(await cause(node, pinned.id, "no-worker-in-pool"), "pinned to the pool mail");
    assertEquals((await explained(node, `occurrences/${id}`)).verdict, "no-worker");
    assertEquals((await explained(node, `occurrences/${other}`)).verdict, "no-worker-in-pool");
  });

  promise(
    "lanes that are full, a run in the way, and those that wait behind it",
    { behaviour: LONG, offers: [offer("SampleJob", { maxParallelJobs: 1 })] },
    async (node, clock) => {
      const job = await node.createJob({ concurrentExecutionPolicy: "Queue" });
      const other = await node.createJob({ concurrentExecutionPolicy: "Allow" });
      const [first = ""] = await node.trigger(job.id);
      const [second = ""] = await node.trigger(job.id);
      await clock.advance(6000);
      const [third = ""] = await node.trigger(other.id);
      await clock.advance(6000);
      assertStringIncludes(
        await cause(node, job.id, "overlap"),
        `Occurrence ${first} holds the job, Running on`,
      );
      assertStringIncludes(await cause(node, job.id, "waiting-turn"), first);
      assertEquals((await explained(node, `occurrences/${second}`)).verdict, "waiting-turn");
      assertStringIncludes(await cause(node, other.id, "lanes-full"), "1 of 1 busy");
      assertEquals((await explained(node, `occurrences/${third}`)).verdict, "lanes-full");
      assertEquals((await explained(node, `occurrences/${first}`)).verdict, "Running");
    },
  );

  promise(
    "a back-off, a pause, and a job that is not active",
    { behaviour: () => ({ afterMs: 10, outcome: failed("not yet") }) },
    async (node, clock) => {
      const job = await node.createJob({ baseRetryDelaySeconds: 3600, maxRetryDelaySeconds: 86_400 });
      const [id = ""] = await node.trigger(job.id);
      await clock.advance(1000);
      await settle(node);
      assertEquals((await explained(node, `occurrences/${id}`)).verdict, "back-off");
      assertStringIncludes(await cause(node, job.id, "back-off"), "backs off after 1 attempt");
      const pause = { by: "ann", reason: "stocktaking", since: clock.now(), until: null };
      await node.adapters.store.jobs.setPause(job.id, pause);
      assertStringIncludes(await cause(node, job.id, "paused"), "Paused by ann");
      const idle = await node.createJob({ isActive: false, cronExpression: "0 * * * * *" });
      assertStringIncludes(await cause(node, idle.id, "disabled"), "not active");
    },
  );

  const cut = { isSilent: false };
  /** Nothing comes through from the worker any more: no renewal, no announcement. */
  const silenced = <T extends object>(port: T, method: keyof T): T =>
    new Proxy(port, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (name === method && cut.isSilent) return () => Promise.reject(new Error("cut off"));
        return typeof value === "function" ? value.bind(target) : value;
      },
    });

  promise(
    "a worker that is silent: since when, and when its run is taken for lost",
    {
      behaviour: LONG,
      replace: (adapters) => ({
        ...adapters,
        attempts: silenced(adapters.attempts, "renew"),
        presence: silenced(adapters.presence, "announce"),
      }),
    },
    async (node, clock) => {
      cut.isSilent = false;
      const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
      const [id = ""] = await node.trigger(job.id);
      await clock.advance(12_000);
      assertEquals((await explained(node, `occurrences/${id}`)).verdict, "Running");
      cut.isSilent = true;
      const from = clock.now();
      // Long enough to be told of, and not so long that the worker kills the run for fear of being taken for lost.
      await clock.advance(6500);
      const { verdict, sentence, causes } = await explained(node, `occurrences/${id}`);
      assertEquals(verdict, "worker-silent");
      assertStringIncludes(
        sentence,
        `Worker instance ${node.instanceId}, which runs occurrence ${id}, has been`,
      );
      const since = Date.parse(causes[0].since);
      // Announced and renewed each five seconds; taken for lost a lease and a margin after the last of it.
      assert(since <= from && since >= from - 5000, causes[0].since);
      assertEquals(Date.parse(causes[0].until) - since, 16_500);
      assertStringIncludes(await cause(node, job.id, "worker-silent"), "has been silent since");
      cut.isSilent = false;
      await clock.advance(5000);
      await settle(node);
      assertEquals((await explained(node, `occurrences/${id}`)).verdict, "Running", "it was heard of again");
    },
  );

  promise("an epoch that was ended, when nobody takes the lead", {
    replace: (adapters) => ({
      ...adapters,
      leases: { ...adapters.leases, acquire: () => Promise.resolve(false) } as typeof adapters.leases,
    }),
  }, async (node, clock) => {
    const job = await node.createJob({ cronExpression: "0 * * * * *" });
    await clock.advance(90_000);
    assertStringIncludes(await cause(node, job.id, "no-leader"), "No instance leads");
    const due = await explained(node, `jobs/${job.id}`);
    assertEquals(due.verdict, "no-leader");
  });
}
