/** What tests of the RabbitMQ adapters stand on: a broker, names of their own on it, and a hand behind their back. */
import { type ConfirmChannel, connect } from "amqplib";
import type { ReportQueue } from "../../actors/ports/queue.ts";
import { AMQP_URL, deleteNames, randomPrefix } from "./rabbit.ts";
import { RabbitmqServer } from "./rabbitmq_server.ts";
import { serverTest } from "./servers.ts";

export const SAMPLE = { jobType: "SampleJob", routingPattern: "sample.*" };

/** Takes whatever workers say, and keeps nothing. */
export const DEAF: Parameters<ReportQueue["receive"]>[0] = {
  reports: () => Promise.resolve(),
  lines: () => Promise.resolve(),
  progress: () => Promise.resolve(),
  signals: () => Promise.resolve(),
};

/** A promise that needs the machine's broker only. */
export function sharedBrokerTest(sentence: string, body: (prefix: string) => Promise<void>): void {
  serverTest(["rabbitmq"], `rabbitmq: ${sentence}`, async () => {
    const prefix = randomPrefix();
    try {
      await body(prefix);
    } finally {
      await deleteNames(prefix, [null, "pool"].map((pool) => ({ ...SAMPLE, pool })));
    }
  });
}

/** A promise that needs a broker of its own. */
export function ownBrokerTest(
  sentence: string,
  body: (server: RabbitmqServer) => Promise<void>,
  options: Parameters<typeof RabbitmqServer.start>[0] = {},
): void {
  serverTest(["rabbitmq-server", "rabbitmqctl"], `rabbitmq: ${sentence}`, async () => {
    await using server = await RabbitmqServer.start(options);
    await body(server);
  });
}

/** Does something to the broker behind the adapters' back. */
export async function behindTheirBack(body: (channel: ConfirmChannel) => Promise<void>): Promise<void> {
  const connection = await connect(AMQP_URL);
  try {
    const channel = await connection.createConfirmChannel();
    await body(channel);
    await channel.waitForConfirms();
  } finally {
    await connection.close();
  }
}
