/**
 * What the broker gives and what the adapter makes of it: publish + confirm, consume + acknowledge, reports.
 *
 *   deno run -A tests/bench/rabbitmq_bench.ts [messages]
 */
import { Buffer } from "node:buffer";
import { connect } from "amqplib";
import type { JobMessage } from "../../actors/domain/message.ts";
import { decodeJob, encodeJob } from "../../infra/rabbitmq/wire.ts";
import { messageWith, report } from "../support/messages.ts";
import { AMQP_URL, deleteNames, openTestRabbit, randomPrefix } from "../support/rabbit.ts";
import { SAMPLE } from "../support/rabbit_adapter.ts";

const COUNT = Number(Deno.args[0] ?? 30_000);
const BATCH = 500;
const PREFETCH = 500;
const INLINE_BYTES = 16 * 1024;

function say(name: string, count: number, startedAt: number): void {
  const perSecond = Math.round(count / (performance.now() - startedAt) * 1000);
  console.log(`${name.padEnd(58)} ${perSecond.toLocaleString("en").padStart(9)} /s`);
}

const message = messageWith({
  jobData: JSON.stringify({ to: "somebody@example.com", subject: "x".repeat(120) }),
});
const messages = Array.from({ length: COUNT }, (_, index): JobMessage => ({
  ...message,
  occurrenceId: `01a00000-0000-7000-8000-${String(index).padStart(12, "0")}`,
}));
const content = encodeJob(message, INLINE_BYTES);
console.log(`${COUNT} messages of ${content.length} bytes, batches of ${BATCH}, prefetch ${PREFETCH}`);

/** amqplib with nothing around it. */
async function bare(queueType: "quorum" | "classic"): Promise<void> {
  const queue = `bench-${crypto.randomUUID()}`;
  const connection = await connect(AMQP_URL);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": queueType } });
  await channel.assertExchange(queue, "topic");
  await channel.bindQueue(queue, queue, "sample.*");
  const options = { persistent: true, mandatory: true };
  const publishAll = async (send: (index: number) => void) => {
    for (let sent = 0; sent < COUNT; sent += BATCH) {
      for (let index = 0; index < BATCH; index += 1) send(sent + index);
      await channel.waitForConfirms();
    }
  };
  let startedAt = performance.now();
  await publishAll(() => channel.sendToQueue(queue, Buffer.from(content), options));
  say(`bare ${queueType}: publish straight to the queue, confirm`, COUNT, startedAt);
  await channel.purgeQueue(queue);
  startedAt = performance.now();
  await publishAll((index) => channel.publish(queue, `sample.${index}`, Buffer.from(content), options));
  say(`bare ${queueType}: publish by a topic, confirm`, COUNT, startedAt);
  startedAt = performance.now();
  await channel.prefetch(PREFETCH);
  await new Promise<void>((resolve, reject) => {
    let got = 0;
    channel.consume(queue, (delivery) => {
      if (delivery === null) return;
      channel.ack(delivery);
      if (++got === COUNT) resolve();
    }).catch(reject);
  });
  say(`bare ${queueType}: consume, acknowledge`, COUNT, startedAt);
  await channel.deleteQueue(queue);
  await channel.deleteExchange(queue);
  await connection.close();
}

async function adapter(queueType: "quorum" | "classic"): Promise<void> {
  const prefix = randomPrefix();
  const rabbit = await openTestRabbit({ prefix, queueType });
  let got = 0;
  let done = Promise.withResolvers<void>();
  const subscription = await rabbit.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 0 }, (deliveries) => {
    for (const delivery of deliveries) delivery.ack();
    got += deliveries.length;
    if (got === COUNT) done.resolve();
  });
  const publishAll = async () => {
    for (let from = 0; from < COUNT; from += BATCH) {
      await rabbit.queue.publish(messages.slice(from, from + BATCH));
    }
  };
  let startedAt = performance.now();
  await publishAll();
  say(`adapter ${queueType}: publish, confirm`, COUNT, startedAt);
  startedAt = performance.now();
  subscription.setPrefetch(PREFETCH);
  await done.promise;
  say(`adapter ${queueType}: consume, acknowledge`, COUNT, startedAt);

  [got, done] = [0, Promise.withResolvers<void>()];
  startedAt = performance.now();
  await Promise.all([publishAll(), done.promise]);
  say(`adapter ${queueType}: both at once, one process`, COUNT, startedAt);
  await subscription.stop();

  let recorded = 0;
  const all = Promise.withResolvers<void>();
  const receiving = await rabbit.reports.receive({
    reports: (items) => {
      recorded += items.length;
      if (recorded === COUNT) all.resolve();
      return Promise.resolve();
    },
    lines: () => Promise.resolve(),
    progress: () => Promise.resolve(),
    signals: () => Promise.resolve(),
  });
  startedAt = performance.now();
  // As 200 lanes do: each sends its report, waits until it is safe, and goes on.
  const lane = async (count: number) => {
    for (let index = 0; index < count; index += 1) await rabbit.reports.sendReports([report(1)]);
  };
  await Promise.all([...Array.from({ length: 200 }, () => lane(COUNT / 200)), all.promise]);
  say(`adapter ${queueType}: reports of 200 lanes, one at a time each`, COUNT, startedAt);
  await receiving.stop();
  await rabbit.close();
  await deleteNames(prefix, [null, "pool"].map((pool) => ({ ...SAMPLE, pool })));
}

/** Claims and renewals over the wire, with a store that costs nothing. */
async function attempts(): Promise<void> {
  const prefix = randomPrefix();
  const api = await openTestRabbit({ prefix, role: "api" });
  const worker = await openTestRabbit({ prefix, role: "worker" });
  api.serveAttempts({
    claim: (requests) => Promise.resolve(requests.map(() => ({ ok: true, token: 1, attempt: 1 }))),
    renew: (running) => Promise.resolve(running.map(() => ({ ok: true, cancel: null }))),
  });
  const client = worker.attempts();
  await client.hello();
  const times: number[] = [];
  for (let index = 0; index < 300; index += 1) {
    const askedAt = performance.now();
    await client.claim([{ message, workerId: "pool", instanceId: "worker-1" }], 15_000);
    times.push(performance.now() - askedAt);
  }
  times.sort((one, other) => one - other);
  console.log(
    `claim over the wire, alone: p50 ${times[150]?.toFixed(1)} ms, p99 ${times[297]?.toFixed(1)} ms`,
  );
  const startedAt = performance.now();
  const lane = async (count: number) => {
    for (let index = 0; index < count; index += 1) {
      await client.claim([{ message, workerId: "pool", instanceId: "worker-1" }], 15_000);
    }
  };
  await Promise.all(Array.from({ length: 200 }, () => lane(COUNT / 200)));
  say("claims of 200 lanes, one at a time each", COUNT, startedAt);
  await worker.close();
  await api.close();
  await deleteNames(prefix, []);
}

let startedAt = performance.now();
for (const one of messages) encodeJob(one, INLINE_BYTES);
say("encode a job message", COUNT, startedAt);
startedAt = performance.now();
for (let index = 0; index < COUNT; index += 1) decodeJob(content);
say("decode and check a job message", COUNT, startedAt);
for (const queueType of ["quorum", "classic"] as const) {
  await bare(queueType);
  await adapter(queueType);
}
await attempts();
