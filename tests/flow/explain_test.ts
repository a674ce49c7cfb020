/** Explanations on both grounds, and with the broker away. */
import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { clusterGround, embeddedGround } from "../support/ground.ts";
import { Node } from "../support/node.ts";
import { SERVERS, serverTest } from "../support/servers.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { until } from "../support/program.ts";
import { explained, explainSuite } from "./explain.ts";

const NEEDS = ["postgres", "redis", "rabbitmq"] as const;

explainSuite("embedded", embeddedGround, (name, fn) => Deno.test(name, fn));
explainSuite("cluster", () => clusterGround(), (name, fn) => serverTest(NEEDS, name, fn));

serverTest(NEEDS, "cluster explain: with the broker away a job says so", async () => {
  await using proxy = TcpProxy.start(Number(new URL(SERVERS.amqp).port || 5672));
  await using ground = await clusterGround((url) => proxy.through(url));
  const clock = new ManualClock({ now: Date.UTC(2026, 0, 1, 12) });
  const node = await Node.start({ ground, clock });
  try {
    const job = await node.createJob({});
    await proxy.down();
    await until(() => Promise.resolve(!node.adapters.queue.canPublish()), "the loss is noticed");
    const body = await explained(node, `jobs/${job.id}`);
    assert(body.causes.some((cause: { code: string }) => cause.code === "broker-down"), JSON.stringify(body));
    assertEquals(body.causes[0].code, "trigger-only");
  } finally {
    await node.crash();
  }
});
