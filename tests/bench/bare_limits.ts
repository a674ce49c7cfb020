/**
 * Bare limits: what the servers, the embedded store's file, or a timer give alone, with nothing of the scheduler
 * between. Each row measures its own in the same run, because a machine's mood changes from minute to minute.
 */
import { Buffer } from "node:buffer";
import { delay } from "@std/async";
import { connect } from "amqplib";
import { Redis } from "ioredis";
import postgres from "postgres";
import { openDatabase } from "../../infra/embedded/database.ts";

const PAYLOAD = Buffer.from(JSON.stringify({ text: "x".repeat(480) }));
/** As the adapter connects: otherwise each small frame waits some 40 ms for the acknowledgement of the one before. */
const UNDELAYED = { noDelay: true };
const BATCH = 500;
const PREFETCH = 500;
const THOUSAND = 1000;
const ROWS_TABLE =
  `CREATE TABLE bench_ceiling (id uuid PRIMARY KEY, status smallint NOT NULL, due timestamptz)
  WITH (fillfactor = 50)`;

/**
 * Messages a second from the first publish to the last acknowledgement, in one process: persistent, confirmed, through
 * a quorum queue, to a consumer that acknowledges.
 */
export async function bareBroker(amqpUrl: string, count: number): Promise<number> {
  const connection = await connect(amqpUrl, UNDELAYED);
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
    for (let index = 0; index < Math.min(BATCH, count - sent); index += 1) {
      publishing.sendToQueue(queue, PAYLOAD, { persistent: true });
    }
    await publishing.waitForConfirms();
  }
  await all.promise;
  const rate = count / secondsSince(startedAt);
  await consuming.deleteQueue(queue);
  await connection.close();
  return rate;
}

/** Rows a second that are inserted, then changed twice, in batches of 50: what each job costs the database at least. */
export async function bareDatabase(url: string, count: number): Promise<number> {
  const sql = postgres(url, { max: 4, fetch_types: false, onnotice: () => {} });
  await sql.unsafe(ROWS_TABLE);
  const startedAt = performance.now();
  let left = count;
  await Promise.all(Array.from({ length: 4 }, async () => {
    while (left > 0) {
      left -= 50;
      const ids = uuids(50);
      await sql`INSERT INTO bench_ceiling SELECT id, 0 FROM unnest(${ids}::uuid[]) AS u (id)`;
      for (const status of [1, 2]) {
        await sql`UPDATE bench_ceiling SET status = ${status} WHERE id = ANY(${ids}::uuid[])`;
      }
    }
  }));
  const rate = count / secondsSince(startedAt);
  await sql`DROP TABLE bench_ceiling`;
  await sql.end();
  return rate;
}

/**
 * Milliseconds of what stands between a due time (or a trigger) and its run: a row committed, a message confirmed by a
 * quorum queue and delivered, the row changed and committed. One at a time.
 */
export async function bareTrips(
  servers: { readonly postgres: string; readonly amqp: string },
  count: number,
): Promise<readonly number[]> {
  const sql = postgres(servers.postgres, { max: 1, fetch_types: false, onnotice: () => {} });
  await sql.unsafe(ROWS_TABLE);
  const connection = await connect(servers.amqp, UNDELAYED);
  const publishing = await connection.createConfirmChannel();
  const consuming = await connection.createChannel();
  const queue = `bench-${crypto.randomUUID()}`;
  await publishing.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  let delivered = Promise.withResolvers<void>();
  await consuming.consume(queue, (delivery) => {
    if (delivery === null) return delivered.reject(new Error("the queue is gone"));
    consuming.ack(delivery);
    delivered.resolve();
  });
  const trips: number[] = [];
  for (let index = 0; index < count + 1; index += 1) {
    const id = crypto.randomUUID();
    delivered = Promise.withResolvers();
    const startedAt = performance.now();
    await sql`INSERT INTO bench_ceiling VALUES (${id}, 0)`;
    publishing.sendToQueue(queue, PAYLOAD, { persistent: true });
    await Promise.all([publishing.waitForConfirms(), delivered.promise]);
    await sql`UPDATE bench_ceiling SET status = 1 WHERE id = ${id}`;
    if (index > 0) trips.push(performance.now() - startedAt);
  }
  await consuming.deleteQueue(queue);
  await connection.close();
  await sql`DROP TABLE bench_ceiling`;
  await sql.end();
  return trips;
}

/** Jobs a second that are written as a row and put into a sorted set by their due time, by the thousand. */
export async function bareSchedules(
  servers: { readonly postgres: string; readonly redis: string; readonly redisPrefix: string },
  count: number,
): Promise<number> {
  const sql = postgres(servers.postgres, { max: 1, fetch_types: false, onnotice: () => {} });
  const redis = new Redis(servers.redis);
  await sql.unsafe(ROWS_TABLE);
  await sql`CREATE INDEX ON bench_ceiling (due)`;
  const key = `${servers.redisPrefix}bench`;
  const startedAt = performance.now();
  for (let done = 0; done < count; done += THOUSAND) {
    const ids = Array.from({ length: Math.min(THOUSAND, count - done) }, () => crypto.randomUUID());
    await sql`INSERT INTO bench_ceiling SELECT id, 0, now() + random() * interval '1 day'
      FROM unnest(${`{${ids.join(",")}}`}::uuid[]) AS u (id)`;
    await redis.zadd(key, ...ids.flatMap((id, index) => [String(startedAt + done + index), id]));
  }
  const rate = count / secondsSince(startedAt);
  await redis.del(key);
  await redis.quit();
  await sql`DROP TABLE bench_ceiling`;
  await sql.end();
  return rate;
}

/** Calls a second of so many loops, each of which does nothing but wait for one call after the other. */
export async function bareCalls(
  { lanes, each }: { readonly lanes: number; readonly each: number },
  call: () => Promise<unknown>,
): Promise<number> {
  await Promise.all(Array.from({ length: lanes }, call)); // connections are made
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: lanes }, async () => {
    for (let index = 0; index < each; index += 1) await call();
  }));
  return lanes * each / secondsSince(startedAt);
}

/** Rows a second in a file opened as the embedded store opens its own: inserted, changed twice, by the thousand. */
export async function bareFile(count: number): Promise<number> {
  using file = await openFile();
  const startedAt = performance.now();
  for (let done = 0; done < count; done += THOUSAND) {
    const ids = Array.from({ length: Math.min(THOUSAND, count - done) }, () => crypto.randomUUID());
    await file.commit(() => ids.forEach((id) => file.insert(id)));
    for (const status of [1, 2]) await file.commit(() => ids.forEach((id) => file.change(id, status)));
  }
  return count / secondsSince(startedAt);
}

/** Milliseconds of two commits, each synced: what stands between a due time and its run in the embedded store. */
export async function bareFileTrips(count: number): Promise<readonly number[]> {
  using file = await openFile();
  const trips: number[] = [];
  for (let index = 0; index < count + 1; index += 1) {
    const id = crypto.randomUUID();
    const startedAt = performance.now();
    await file.commit(() => file.insert(id));
    await file.commit(() => file.change(id, 1));
    if (index > 0) trips.push(performance.now() - startedAt);
  }
  return trips;
}

/** Milliseconds from the start to the end of a Deno that does nothing. */
export async function bareStart(): Promise<number> {
  const startedAt = performance.now();
  await new Deno.Command(Deno.execPath(), { args: ["eval", "0"], stdin: "null" }).output();
  return performance.now() - startedAt;
}

/** What `measure` says of a Deno that does nothing. */
export async function bareProcess(measure: (pid: number) => Promise<number>): Promise<number> {
  await using process = new Deno.Command(Deno.execPath(), {
    args: ["eval", "setTimeout(() => {}, 60_000)"],
    stdin: "null",
  }).spawn();
  await delay(2000);
  return await measure(process.pid);
}

async function openFile() {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-bench-" });
  const database = openDatabase(`${folder}/bare.db`, [
    "CREATE TABLE rows (id TEXT PRIMARY KEY, status INTEGER NOT NULL, value TEXT NOT NULL) STRICT",
  ]);
  const insert = database.prepare("INSERT INTO rows VALUES (?, 0, ?)");
  const change = database.prepare("UPDATE rows SET status = ? WHERE id = ?");
  return {
    insert: (id: string) => insert.execute(id, PAYLOAD.toString()),
    change: (id: string, status: number) => change.execute(status, id),
    async commit(work: () => void) {
      database.begin();
      work();
      database.commit();
      await database.sync();
    },
    [Symbol.dispose]() {
      database.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

function uuids(count: number): string {
  return `{${Array.from({ length: count }, () => crypto.randomUUID()).join(",")}}`;
}

function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000;
}
