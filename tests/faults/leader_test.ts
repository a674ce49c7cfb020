/** What happens to a leader that is frozen, dies at the worst moment, is cut off, or is told to stop. */
import { assert, assertEquals } from "@std/assert";
import { until } from "../support/program.ts";
import { faultTest, stepsDown } from "../support/under_load.ts";

faultTest(
  "a leader that is frozen, killed with commits it has not published, cut off or stopped is followed; nothing is lost or doubled",
  { cluster: { apis: 2, workers: 1, hasProxies: true } },
  async ({ servers, cluster, load, figure }) => {
    const { nemesis } = cluster;
    const committed = async () => {
      const [row] = await servers.postgres.sql("SELECT count(*) AS count FROM occurrences", "cluster");
      return Number(row?.["count"]);
    };

    const frozen = await cluster.leader();
    await nemesis.during("leader frozen past its term", async () => {
      await frozen.pause();
      await cluster.leaderAfter(frozen);
      await frozen.resume();
    });
    await stands(frozen.url);
    await load.progress(40);

    const dying = await cluster.leader();
    await nemesis.during("leader killed between commit and publish", async () => {
      // It goes on committing and cannot publish: what it leaves is committed and in no queue.
      dying.proxies?.amqp.blackhole();
      const before = await committed();
      await until(async () => await committed() >= before + 12, "the leader commits what it cannot publish");
      await dying.kill();
      await cluster.leaderAfter(dying);
      dying.proxies?.amqp.clear();
    });
    await load.progress(40);
    await dying.start();

    const isolated = await cluster.leader();
    await nemesis.during("leader cut off from everything", async () => {
      const cutAt = performance.now();
      const gone = stepsDown(isolated);
      await Promise.all(Object.values(isolated.proxies ?? {}).map((proxy) => proxy.down()));
      await gone;
      figure("isolatedActedForMs", Math.round(performance.now() - cutAt));
      await cluster.leaderAfter(isolated);
      for (const proxy of Object.values(isolated.proxies ?? {})) proxy.up();
    });
    await load.progress(40);

    const stopped = await cluster.leader();
    await nemesis.during("leader stopped in order", async () => {
      const next = cluster.leaderAfter(stopped).then(() => performance.now());
      const toldAt = performance.now();
      const { code } = await stopped.stop();
      assertEquals(code, 0, stopped.output);
      figure("cleanHandOverMs", Math.round(await next - toldAt));
    });
    await stopped.start();
    await load.progress(40);
  },
  ({ figures }) => {
    assert(figures.epochs >= 5);
    assert(figures.triggers.acknowledged > 50);
  },
);

/** A process that was frozen is itself again: it answers. */
async function stands(url: string): Promise<void> {
  await until(async () => {
    const answer = await fetch(`${url}/livez`);
    await answer.body?.cancel();
    return answer.ok;
  }, `${url} answers`);
}
