/** What the broker alone gives: persistent, confirmed, through a quorum queue, to a consumer that acknowledges. */
import { Buffer } from "node:buffer";
import { connect } from "amqplib";

const PAYLOAD = Buffer.from(JSON.stringify({ text: "x".repeat(480) }));
const BATCH = 500;
const PREFETCH = 500;

/** Messages a second from the first publish to the last acknowledgement, in one process. */
export async function brokerCeiling(amqpUrl: string, count: number): Promise<number> {
  const connection = await connect(amqpUrl);
  const publishing = await connection.createConfirmChannel();
  const consuming = await connection.createChannel();
  const queue = `bench-${crypto.randomUUID()}`;
  await publishing.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await consuming.prefetch(PREFETCH);
  const startedAt = performance.now();
  let received = 0;
  const all = Promise.withResolvers<void>();
  await consuming.consume(queue, (delivery) => {
    if (delivery === null) return all.reject(new Error("the queue is gone"));
    consuming.ack(delivery);
    if (++received === count) all.resolve();
  });
  for (let sent = 0; sent < count; sent += BATCH) {
    for (let index = 0; index < BATCH; index += 1) {
      publishing.sendToQueue(queue, PAYLOAD, { persistent: true });
    }
    await publishing.waitForConfirms();
  }
  await all.promise;
  const rate = count / ((performance.now() - startedAt) / 1000);
  await consuming.deleteQueue(queue);
  await connection.close();
  return rate;
}
