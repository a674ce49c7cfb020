import { assertEquals, assertStringIncludes } from "@std/assert";
import { createMetrics } from "../infra/metrics.ts";
import { workerHealth } from "./worker_health.ts";

Deno.test("a worker's health: alive, ready only with its servers, and its figures", async () => {
  let isConnected = true;
  const health = workerHealth({
    page: createMetrics().page,
    pool: { figures: () => ({ hosts: 1, threads: 2, busy: 3, rssBytes: 0, cpuMs: 0 }) },
    reportsHeldBack: () => 4,
    servers: () => [{ name: "RabbitMQ", isConnected }, { name: "Redis", isConnected: true }],
  });
  const ask = (path: string) => health(new Request(`http://127.0.0.1${path}`));
  assertEquals([(await ask("/livez")).status, (await ask("/readyz")).status], [200, 200]);
  isConnected = false;
  const notReady = await ask("/readyz");
  assertEquals([notReady.status, (await notReady.json()).detail], [503, "Out of reach: RabbitMQ"]);
  assertEquals((await ask("/livez")).status, 200, "a broker that is away is no reason to be killed");
  const figures = await (await ask("/metrics")).text();
  assertStringIncludes(figures, "milvaion_attempts_running 3");
  assertStringIncludes(figures, "milvaion_reports_held_back 4");
  assertStringIncludes(figures, 'milvaion_server_connected{server="RabbitMQ"} 0');
  assertEquals((await ask("/api/v1/jobs")).status, 404);
});
