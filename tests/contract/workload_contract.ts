/** The contract of `Workload`: what planning reads. */
import { assert, assertEquals } from "@std/assert";
import { RUNS_OF_JOB } from "../../actors/ports/workload.ts";
import { COMPLETED, FAILED, promiseOf, type StoreFactory, type StoreWorld } from "./store_fixture.ts";

export function workloadContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} workload`, factory);

  promise("shows who took a run, how long it took and what became of it, newest first", async (world) => {
    const mail = await world.saved({ jobType: "SendEmailJob", workerId: "email" });
    const report = await world.saved();
    await ended(world, report, 1500);
    await world.clock.advance(1000);
    await ended(world, mail, 20);
    await world.clock.advance(1000);
    const failed = await world.running(report);
    await world.store.outcomes.record(
      [world.report(failed, { ...FAILED, permanent: true }, { durationMs: 7 })],
      world.now,
      0.5,
    );
    await world.queued(report);
    const { runs, isCut } = await read(world).runs({ from: 0, until: world.now }, 10);
    assertEquals(isCut, false);
    assertEquals(
      runs.map(({ jobType, pool, takenBy, status, attempt, durationMs }) => [
        jobType,
        pool,
        takenBy,
        status,
        attempt,
        durationMs,
      ]),
      [
        ["GenerateReportJob", null, null, "Queued", 0, null],
        ["GenerateReportJob", null, "pool", "Failed", 1, 7],
        ["SendEmailJob", "email", "pool", "Completed", 1, 20],
        ["GenerateReportJob", null, "pool", "Completed", 1, 1500],
      ],
    );
    assertEquals(runs.map((run) => world.now - run.scheduledFor), [0, 0, 1000, 2000]);
  });

  promise("reads no more than it was asked for, the newest, and says that there is more", async (world) => {
    const job = await world.saved();
    for (let count = 0; count < 6; count += 1) {
      await world.trigger(job);
      await world.clock.advance(1000);
    }
    const range = { from: world.now - 4000, until: world.now - 1000 };
    const all = await read(world).runs(range, 4);
    assertEquals([all.runs.length, all.isCut], [4, false]);
    const cut = await read(world).runs(range, 3);
    assertEquals([cut.runs, cut.isCut], [all.runs.slice(0, 3), true]);
    assertEquals((await read(world).runs({ from: 0, until: world.now }, 4)).runs[0], all.runs[0]);
  });

  promise("counts what was due in a time, up to as many as it was told", async (world) => {
    const job = await world.saved();
    for (let count = 0; count < 4; count += 1) {
      await world.trigger(job, { count: 2 });
      await world.clock.advance(1000);
    }
    const range = { from: world.now - 3000, until: world.now - 2000 };
    assertEquals(await read(world).count(range, 100), 4);
    assertEquals(await read(world).count(range, 3), 3);
    assertEquals(await read(world).count({ from: world.now, until: world.now }, 100), 0);
  });

  promise("finds runs of a rare type behind all that came after them", async (world) => {
    const rare = await world.saved({ jobType: "RareJob" });
    const common = await world.saved();
    await ended(world, rare, 250);
    await world.clock.advance(1000);
    await world.trigger(common, { count: 50 });
    const runs = await read(world).runsOfType("RareJob");
    assertEquals(runs.map(({ jobType, durationMs }) => [jobType, durationMs]), [["RareJob", 250]]);
    assertEquals((await read(world).runsOfType("GenerateReportJob")).length, RUNS_OF_JOB);
    assertEquals(await read(world).runsOfType("UnheardOfJob"), []);
  });

  promise(
    "counts what is ready by type and pool, not what runs, backs off or waits its turn",
    async (world) => {
      const mail = await world.saved({ jobType: "SendEmailJob", workerId: "email" });
      const report = await world.saved();
      const oneByOne = await world.saved({ jobType: "MigrationJob", concurrentExecutionPolicy: "Queue" });
      const nothing = { groups: [], isCut: false, firstScheduledFor: null };
      assertEquals(await read(world).waiting(world.now, 100), nothing);
      await world.trigger(report, { count: 3 });
      const first = world.now;
      await world.clock.advance(5000);
      await world.trigger(report, { count: 2 });
      await world.trigger(mail);
      await world.running(report);
      await world.trigger(oneByOne, { count: 4 });
      const backsOff = await world.running(report);
      await world.record(backsOff, FAILED);
      const { groups, isCut, firstScheduledFor } = await read(world).waiting(world.now, 100);
      assertEquals([isCut, firstScheduledFor], [false, first]);
      assertEquals(
        groups.map((
          { jobType, pool, count, oldestReadyAt },
        ) => [jobType, pool, count, world.now - oldestReadyAt])
          .toSorted(),
        [
          ["GenerateReportJob", null, 5, 5000],
          ["MigrationJob", null, 1, 0],
          ["SendEmailJob", "email", 1, 0],
        ],
      );
    },
  );

  promise(
    "looks at no more active occurrences than it was told, and says that there may be more",
    async (world) => {
      const job = await world.saved();
      await world.trigger(job, { count: 20 });
      const whole = await read(world).waiting(world.now, 21);
      assertEquals([whole.isCut, whole.groups[0]?.count], [false, 20]);
      const cut = await read(world).waiting(world.now, 8);
      assertEquals([cut.isCut, cut.groups[0]?.count], [true, 8]);
    },
  );

  promise("knows the pools that took runs", async (world) => {
    const job = await world.saved();
    assertEquals(await read(world).hasTakenRuns("pool"), false);
    await world.running(job);
    assertEquals(await read(world).hasTakenRuns("pool"), true);
    assertEquals(await read(world).hasTakenRuns("elsewhere"), false);
  });

  promise("says how many connections there may be, where there is a server", async (world) => {
    const room = await read(world).connections();
    if (name === "embedded") return assertEquals(room, null);
    assert(room !== null && room.limit > 0 && room.ofAnApi > 0 && room.apis >= 1, JSON.stringify(room));
  });
}

function read(world: StoreWorld) {
  return world.store.reads.reader(null).workload;
}

async function ended(world: StoreWorld, job: Parameters<StoreWorld["running"]>[0], durationMs: number) {
  const message = await world.running(job);
  await world.store.outcomes.record([world.report(message, COMPLETED, { durationMs })], world.now, 0.5);
}
