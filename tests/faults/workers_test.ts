/** Workers are killed, frozen, told to stop and robbed of their hosts under load: runs are repeated, never doubled. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { signalAll } from "../support/processes.ts";
import { readWitness } from "../support/postgres_witness.ts";
import { recovers, workerOf } from "../support/recovery.ts";
import { describe, faultTest } from "../support/under_load.ts";

/** Longer than the lease, and than all that the leader adds before it takes a run for lost. */
const PAST_THE_LEASE_MS = 6000;

faultTest(
  "workers are killed, frozen past their leases, robbed of their hosts and told to stop: runs are repeated, never doubled",
  { cluster: { apis: 2, workers: 3 }, load: { jobsPerPolicy: 2, triggersPerSecond: 5 } },
  async (ground) => {
    const { cluster, load } = ground;
    const [killed, robbed, stopped] = cluster.workers;
    assert(killed !== undefined && robbed !== undefined && stopped !== undefined);

    await recovers(ground, "worker killed", async () => {
      await killed.kill();
      await killed.start();
    });

    // Longer than the freeze: it is cut off for certain, and wakes in the middle of its work.
    const long = await load.createJob({ policy: "Skip", workMs: 12_000, isTriggered: true });
    const worker = await workerOf(ground, await load.trigger(long));
    await recovers(ground, "worker frozen past its leases", async () => {
      await worker.pause();
      await delay(PAST_THE_LEASE_MS);
      await worker.resume();
    }, { isFreeze: true });

    await recovers(ground, "hosts of a worker killed", async () => {
      await signalAll(await robbed.hosts(), "KILL");
    });

    const status = await recovers(ground, "worker told to stop", () => stopped.stop());
    assertEquals(status.code, 0, `${stopped.name} ends in order\n${stopped.output}`);
    await stopped.start();
    await load.progress(50);
    const { lateReports } = await readWitness(cluster.databaseUrl);
    ground.figure("late reports kept", lateReports);
    assert(lateReports > 0, "the reports of the frozen worker were refused and kept");
  },
  (judgement) => {
    assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement));
  },
);
