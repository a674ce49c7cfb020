/** The leader of a cluster under load is killed or frozen; all witnesses are then heard. */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../support/cluster.ts";
import { describe } from "../../support/cluster_judge.ts";
import { Load } from "../../support/load.ts";
import { serverTest } from "../../support/servers.ts";
import { needsOf, TestServers } from "../../support/test_servers.ts";

serverTest(
  needsOf(),
  "the leader is killed under load: another leads, each due time is decided once, nothing is lost",
  async () => {
    await using servers = await TestServers.start();
    await using cluster = await Cluster.start({ ...servers.forCluster, apis: 2, workers: 2 });
    await using load = await Load.start(cluster);
    await load.progress(100);

    const leader = await cluster.leader();
    await cluster.nemesis.during("leader killed", async () => {
      await leader.kill();
      await cluster.leaderAfter(leader);
    });
    await load.progress(100);
    await leader.start();
    await load.progress(50);

    const judgement = await load.judge();
    assertEquals(judgement.figures.epochs, 2, describe(judgement));
    assert(judgement.figures.triggers.acknowledged > 50, describe(judgement));
  },
);

serverTest(
  needsOf(),
  "the leader is frozen past its lock and woken: another leads, and the woken one writes nothing",
  async () => {
    await using servers = await TestServers.start();
    await using cluster = await Cluster.start({ ...servers.forCluster, apis: 2, workers: 2 });
    await using load = await Load.start(cluster);
    await load.progress(100);

    const leader = await cluster.leader();
    await cluster.nemesis.during("leader frozen", async () => {
      await leader.pause();
      await cluster.leaderAfter(leader);
      await load.progress(50);
      await leader.resume();
    }, { isFreeze: true });
    await load.progress(100);

    const judgement = await load.judge();
    assertEquals(judgement.figures.epochs, 2, describe(judgement));
  },
);
