/** RabbitMQ adapters for tests: on the broker of this machine, or one of the test's own, with names of their own. */
import { connect } from "amqplib";
import { openRabbit, type Rabbit, type RabbitOptions } from "../../infra/rabbitmq/rabbit.ts";
import { Topology } from "../../infra/rabbitmq/topology.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { KeptLog } from "./quiet.ts";
import { SERVERS } from "./servers.ts";

/** The broker that tests use when they need none of their own. */
export const AMQP_URL = SERVERS.amqp;

/** Names that nobody else uses. */
export function randomPrefix(): string {
  return `test-${crypto.randomUUID().slice(0, 8)}.`;
}

export const STORE_ID = "7b1c1c1e-6f0a-4a57-9c7e-3d4f5a6b7c8d";

/** An adapter that is up, with a log that is kept. */
export async function openTestRabbit(
  options: Partial<RabbitOptions> & { readonly prefix: string },
): Promise<Rabbit & { readonly log: KeptLog }> {
  const log = new KeptLog();
  const rabbit = await openRabbit({
    url: AMQP_URL,
    storeId: STORE_ID,
    instanceId: "instance-1",
    role: "both",
    clock: systemClock,
    random: systemRandom,
    log,
    ...options,
  });
  await rabbit.whenUp();
  return { ...rabbit, log };
}

/** Deletes what tests with this prefix have made. */
export async function deleteNames(
  prefix: string,
  patterns: readonly { readonly routingPattern: string; readonly pool: string | null }[],
  url: string = AMQP_URL,
): Promise<void> {
  const names = new Topology(prefix, "quorum");
  const connection = await connect(url);
  const channel = await connection.createChannel();
  for (const { routingPattern, pool } of patterns) {
    await channel.deleteQueue(names.queue(routingPattern, pool));
  }
  const { parked, reports, lines, progress, progressStandby, attempts, attemptsStandby } = names;
  for (const queue of [parked, reports, lines, progress, progressStandby, attempts, attemptsStandby]) {
    await channel.deleteQueue(queue);
  }
  for (const exchange of [names.jobs, names.dlx, names.control]) await channel.deleteExchange(exchange);
  await connection.close();
}
