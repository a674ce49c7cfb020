/** The contracts of queue, reports and attempts, kept over RabbitMQ. Needs a broker; skipped without one. */
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { deleteNames, openTestRabbit, randomPrefix } from "../support/rabbit.ts";
import { SAMPLE } from "../support/rabbit_adapter.ts";
import { serverTest, whyMissing } from "../support/servers.ts";
import { attemptsContract } from "./attempts_contract.ts";
import { queueContract, type QueueFactory } from "./queue_contract.ts";
import { reportQueueContract } from "./report_queue_contract.ts";
import type { StoreFactory } from "./store_fixture.ts";

const POOLS = ["pool", "mail", "other"];

const queueOf = (queueType: "quorum" | "classic"): QueueFactory => async ({ bound }) => {
  const prefix = randomPrefix();
  // As presence tells it: a type is known, with a pool, from when a worker of that pool offers it.
  const pools = new Set<string>();
  const rabbit = await openTestRabbit({
    prefix,
    queueType,
    unconfirmedAtMost: 100 * bound,
    knownTypes: () => pools.size === 0 ? [] : [{ ...SAMPLE, pools: [...pools] }],
  });
  const { queue } = rabbit;
  return {
    queue: {
      canPublish: () => queue.canPublish(),
      publish: (messages) => queue.publish(messages),
      consume: async (options, onDeliveries) => {
        const subscription = await queue.consume(options, onDeliveries);
        pools.add(options.pool);
        return subscription;
      },
      depth: () => queue.depth(),
      onDrained: (listener) => queue.onDrained(listener),
    },
    async close() {
      await rabbit.close();
      await deleteNames(prefix, [null, ...POOLS].map((pool) => ({ ...SAMPLE, pool })));
    },
  };
};

const attemptsOver: StoreFactory = async ({ clock, random }) => {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-contract-" });
  const { store, attempts } = await openEmbeddedStore({ folder, clock, random, log: new KeptLog() });
  const prefix = randomPrefix();
  const api = await openTestRabbit({ prefix, role: "api" });
  const worker = await openTestRabbit({ prefix, role: "worker", instanceId: "worker-1" });
  api.serveAttempts(attempts);
  const client = worker.attempts();
  await client.hello();
  return {
    store,
    attempts: client,
    async close() {
      await worker.close();
      await api.close();
      await store.close();
      await deleteNames(prefix, []);
      await Deno.remove(folder, { recursive: true });
    },
  };
};

const NO_BOUND =
  "how many messages wait is the broker's to know; a policy with max-length makes it answer full";
const NO_DEDUPLICATION = "the claim starts a message that came twice only once";
const NO_ORDER = "quorum queues keep what comes back in the order of its coming back";

if (whyMissing("rabbitmq") !== null) {
  serverTest(["rabbitmq"], "rabbitmq: queue, reports and attempts keep their contracts", () => {});
} else {
  queueContract("rabbitmq quorum", queueOf("quorum"), {
    bound: NO_BOUND,
    deduplication: NO_DEDUPLICATION,
    orderAmongRequeued: NO_ORDER,
  });
  queueContract("rabbitmq classic", queueOf("classic"), { bound: NO_BOUND, deduplication: NO_DEDUPLICATION });
  reportQueueContract("rabbitmq", async () => {
    const prefix = randomPrefix();
    const rabbit = await openTestRabbit({ prefix });
    return {
      reports: rabbit.reports,
      async close() {
        await rabbit.close();
        await deleteNames(prefix, []);
      },
    };
  }, "confirmed");
  attemptsContract("rabbitmq", attemptsOver);
}
