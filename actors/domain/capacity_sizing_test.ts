import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connections, GUIDE_BYTES, MEASURED_BYTES, sizing } from "./capacity_sizing.ts";

const SMALL = { scheduledJobs: 0, backlog: 0, instances: 0, runsPerSecond: 0, historyDays: 30 };

Deno.test("the guide's examples: 10,000 active jobs ≈ 10 MB, 100,000 pending messages ≈ 50 MB, beside what was measured", () => {
  const found = sizing({ ...SMALL, scheduledJobs: 10_000, backlog: 100_000 });
  const guide = found.redis.memory.guideBytes ?? 0;
  assert(Math.abs(guide / 10e6 - 1) < 0.001, `${guide}`);
  assertEquals([found.redis.workload, found.redis.ramGb, found.redis.storageGb], ["Small", 1, 1]);
  assertEquals(found.redis.memory.measuredBytes, 10_000 * 145 + 168);
  assertEquals(found.redis.disk.measuredBytes, 10_000 * 45 + 168);
  assertEquals(found.rabbitmq, {
    memory: { guideBytes: 50e6, measuredBytes: 145e6 },
    disk: { guideBytes: 50e6, measuredBytes: 79e6 },
    ramGb: 1,
    storageGb: 1,
  });
  assertEquals([found.postgres.memory.measuredBytes, found.postgres.disk.measuredBytes], [63.4e6, 63.4e6]);
  assertEquals(found.sentences, [
    "Redis: 10,000 scheduled jobs, 10 MB by the guide, measured 1.45 MB in memory and 450 KB on disk: small, 1 GB of memory, 1 GB of disk.",
    "RabbitMQ: 100,000 waiting messages, 50 MB by the guide, measured 145 MB in memory and 79 MB on disk: 1 GB of memory, 1 GB of disk.",
    "PostgreSQL: 10,000 scheduled jobs, 100,000 waiting runs, and 0 runs a second, which leave 0 B a day, 0 B in 30 days: " +
    "measured 63.4 MB in memory and 63.4 MB on disk: small, 2 vCPU, 4 GB of memory, 50 GB SSD.",
  ]);
});

Deno.test("more jobs and a longer backlog make each server larger, PostgreSQL as well", () => {
  const few = sizing({ ...SMALL, scheduledJobs: 1000, backlog: 1000 });
  const many = sizing({ ...SMALL, scheduledJobs: 1_000_000, backlog: 1_000_000 });
  for (const server of ["redis", "rabbitmq", "postgres"] as const) {
    for (const place of ["memory", "disk"] as const) {
      assert(
        many[server][place].measuredBytes > 100 * few[server][place].measuredBytes,
        `${server} ${place}`,
      );
    }
  }
  // What is used all the time fits into PostgreSQL's cache; RabbitMQ stays below its watermark.
  assertEquals([few.postgres.workload, many.postgres.workload], ["Small", "Large"]);
  assertEquals([few.rabbitmq.ramGb, many.rabbitmq.ramGb, many.rabbitmq.storageGb], [1, 4, 3]);
  assertEquals(sizing({ ...SMALL, scheduledJobs: 10_000_000 }).postgres.isEnough, false);
});

Deno.test("measured bytes are the benchmark's own, not the guide's over again", () => {
  assertEquals(MEASURED_BYTES.message, 543);
  for (const name of ["job", "heartbeat", "lock", "message"] as const) {
    assert(Number(MEASURED_BYTES[name]) !== GUIDE_BYTES[name], name);
  }
});

Deno.test("Redis: the guide's rows, with twice the room", () => {
  const row = (scheduledJobs: number) => sizing({ ...SMALL, scheduledJobs }).redis.workload;
  assertEquals([row(499_000), row(501_000), row(1_990_000), row(2_100_000), row(1e8)], [
    "Small",
    "Medium",
    "Medium",
    "Large",
    "Large",
  ]);
});

Deno.test("heartbeats take more above 128 instances, as measured", () => {
  const few = sizing({ ...SMALL, instances: 128 }).redis.memory.measuredBytes;
  const many = sizing({ ...SMALL, instances: 129 }).redis.memory.measuredBytes;
  assertEquals([few, many], [128 * 63 + 168, 129 * 135 + 168]);
});

Deno.test("PostgreSQL: by history on disk and by processors, and it says when the largest row is not enough", () => {
  const { postgres } = sizing({ ...SMALL, runsPerSecond: 5 });
  assertEquals([postgres.bytesADay, postgres.disk.measuredBytes, postgres.workload], [
    432e6,
    12.96e9,
    "Small",
  ]);
  const row = (runsPerSecond: number, historyDays: number) => {
    const found = sizing({ ...SMALL, runsPerSecond, historyDays }).postgres;
    return [found.workload, found.isEnough];
  };
  assertEquals(row(15, 30), ["Medium", true]);
  assertEquals(row(90, 30), ["Large", true]);
  assertEquals(row(20_000, 1), ["Large", false]);
});

Deno.test("connections: workers × 2 and each API instance's, beside the server's limit", () => {
  const question = { workers: 50, apis: 2, apiConnections: 10, postgresLimit: 97 };
  const [postgres, redis, rabbitmq] = connections(question);
  assertEquals([postgres?.wanted, postgres?.limit, postgres?.isMeasured], [120, 97, true]);
  assertEquals(
    postgres?.sentence,
    "PostgreSQL: 50 workers × 2 + 2 API instances × 10 = 120 connections, of 97: too many: raise the limit to 150.",
  );
  assertEquals([redis?.wanted, redis?.limit, rabbitmq?.wanted, rabbitmq?.limit], [156, 10_000, 104, 65_535]);
  assertStringIncludes(redis?.sentence ?? "", "156 connections, of 10,000 (its default): enough.");
});
