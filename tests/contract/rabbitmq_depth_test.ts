/** The depth of a queue as others read it: KEDA's RabbitMQ scaler declares the queue passively and takes the count. */
import { assertEquals } from "@std/assert";
import { connect } from "amqplib";
import { AMQP_URL, deleteNames, openTestRabbit, randomPrefix } from "../support/rabbit.ts";
import { serverTest } from "../support/servers.ts";

const TYPE = { jobType: "SendEmailJob", routingPattern: "sendemail.*" };
const PREFETCH = 2;

serverTest(
  ["rabbitmq"],
  "rabbitmq: what waits is read as KEDA reads it, without what a worker holds, and as our own depth says",
  async () => {
    const prefix = randomPrefix();
    const rabbit = await openTestRabbit({
      prefix,
      knownTypes: () => [{ ...TYPE, pools: ["email-worker"] }],
    });
    try {
      const held = Promise.withResolvers<void>();
      let count = 0;
      const subscription = await rabbit.queue.consume(
        { ...TYPE, pool: "email-worker", prefetch: PREFETCH },
        (deliveries) => {
          count += deliveries.length;
          if (count === PREFETCH) held.resolve();
        },
      );
      const answers = await rabbit.queue.publish(Array.from({ length: 7 }, message));
      assertEquals(answers, Array.from({ length: 7 }, () => "accepted"));
      await held.promise;

      const connection = await connect(AMQP_URL);
      const channel = await connection.createChannel();
      const { messageCount } = await channel.checkQueue(`${prefix}jobs.sendemail.wildcard`);
      await connection.close();
      const depth = await rabbit.queue.depth();
      assertEquals(messageCount, 7 - PREFETCH);
      assertEquals(depth.find((one) => one.pool === null)?.ready, 7 - PREFETCH);
      await subscription.stop();
    } finally {
      await rabbit.close();
      await deleteNames(prefix, [null, "email-worker"].map((pool) => ({ ...TYPE, pool })));
    }
  },
);

function message() {
  return {
    occurrenceId: crypto.randomUUID(),
    scheduledFor: 0,
    jobId: crypto.randomUUID(),
    jobType: TYPE.jobType,
    pool: null,
    token: 0,
    attempt: 0,
    maxAttempts: 1,
    jobData: "{}",
    executionTimeoutSeconds: null,
  };
}
