/** Redis frozen, cut off, slow, or gone for long while jobs run. */
import { assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { recovers, rowsOf } from "../../support/recovery.ts";
import type { TcpProxy } from "../../support/tcp_proxy.ts";
import { faultTest, type Ground } from "../../support/under_load.ts";

const FROZEN_MS = 30_000;
const CUT_MS = 10_000;
const SLOW_MS = 20_000;
/** The way there and the way back: together beyond the lock's margin and each command's time. */
const LATENCY_MS = 1500;
const GONE_MS = 90_000;

faultTest(
  "Redis frozen for 30 s, cut off for 10 s, and 3 s late for 20 s: due times are decided from the store",
  { servers: { own: ["redis"] }, cluster: { apis: 2, workers: 1, hasProxies: true } },
  async (ground) => {
    const { servers: { redis }, load } = ground;
    const throughProxies = (work: (proxy: TcpProxy) => Promise<void> | void) =>
      Promise.all(redisProxies(ground).map(work));

    await recovers(ground, "frozen for 30 s", async () => {
      redis.pause();
      await delay(FROZEN_MS);
      redis.resume();
    });
    await load.progress(40);

    await recovers(ground, "connections cut and refused for 10 s", async () => {
      await throughProxies((proxy) => proxy.down());
      await delay(CUT_MS);
      await throughProxies((proxy) => proxy.up());
    });
    await load.progress(40);

    await recovers(ground, "each answer 3 s late for 20 s", async () => {
      await throughProxies((proxy) => proxy.latency(LATENCY_MS));
      await delay(SLOW_MS);
      await throughProxies((proxy) => proxy.clear());
    });
    await load.progress(40);
  },
);

faultTest(
  "Redis gone for 90 s while jobs run: none is taken for lost, and due times are decided from the store",
  { servers: { own: ["redis"] }, cluster: { apis: 2, workers: 2 } },
  async (ground) => {
    const { servers: { redis }, cluster, load } = ground;
    const long = await load.createJob({ policy: "Allow", workMs: 60_000, isTriggered: true });
    await Promise.all(Array.from({ length: 4 }, () => load.trigger(long)));
    await recovers(ground, "stopped for 90 s", async () => {
      await redis.stop();
      await delay(GONE_MS);
      await redis.start();
    });
    await load.progress(40);
    const [row] = await rowsOf(cluster, "SELECT sum(lost) AS lost FROM occurrences");
    assertEquals(Number(row?.["lost"]), 0, "no run was taken for lost");
  },
  ({ figures }) => {
    assertEquals(figures.cutOff, 0);
  },
);

function redisProxies({ cluster }: Ground): readonly TcpProxy[] {
  return [...cluster.apis, ...cluster.workers].flatMap(({ proxies }) => proxies?.redis ?? []);
}
