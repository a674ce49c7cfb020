/** Workers come and go at random for a minute: killed, told to stop, started. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { seededRandom } from "../../../actors/runtime/seeded_random.ts";
import { recovers } from "../../support/recovery.ts";
import { faultTest } from "../../support/under_load.ts";

const LASTS_MS = 60_000;

faultTest(
  "three workers are killed, stopped and started at random for a minute: nothing is lost, nothing doubled",
  { cluster: { apis: 2, workers: 3 }, load: { jobsPerPolicy: 1, triggersPerSecond: 5 } },
  async (ground) => {
    const { workers } = ground.cluster;
    const random = seededRandom(5, Date);
    const done = { killed: 0, stopped: 0, started: 0 };
    await recovers(ground, "workers killed, stopped and started at random", async () => {
      const over = performance.now() + LASTS_MS;
      while (performance.now() < over) {
        const worker = workers[Math.floor(random.next() * workers.length)];
        assert(worker !== undefined);
        if (!worker.isRunning) {
          await worker.start();
          done.started += 1;
        } else if (random.next() < 0.5) {
          await worker.kill();
          done.killed += 1;
        } else {
          assertEquals((await worker.stop()).code, 0, worker.output);
          done.stopped += 1;
        }
        await delay(random.next() * 2000);
      }
      await Promise.all(workers.filter((one) => !one.isRunning).map((one) => one.start()));
    });
    ground.figure("workers", done);
  },
);
