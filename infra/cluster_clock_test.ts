import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../actors/runtime/manual_clock.ts";
import { KeptLog } from "../tests/support/quiet.ts";
import { ClusterClock } from "./cluster_clock.ts";

const HOUR = 3_600_000;

Deno.test("cluster clock: a machine that is an hour wrong says the database's time", async () => {
  for (const wrong of [HOUR, -HOUR]) {
    const machine = new ManualClock();
    const log = new KeptLog();
    const database = () => Promise.resolve(machine.now() - wrong);
    const clock = new ClusterClock(machine, log);
    await clock.follow(database);
    assertEquals([clock.now(), clock.skewMs()], [machine.now() - wrong, wrong]);
    assertEquals(clock.fromMachine(machine.now()), clock.now());
    await machine.advance(1000);
    assertEquals(clock.now(), machine.now() - wrong);
    assert(log.lines.length === 1, "people hear of it");
    clock.stop();
  }
});

Deno.test("cluster clock: goes on while the database is away, and follows when its clock was set", async () => {
  const machine = new ManualClock();
  const log = new KeptLog();
  let ahead = 0;
  let isAway = false;
  const database = () => isAway ? Promise.reject(new Error("away")) : Promise.resolve(machine.now() + ahead);
  const clock = new ClusterClock(machine, log);
  await clock.follow(database);
  isAway = true;
  await machine.advance(40_000);
  assertEquals(clock.now(), machine.now());
  isAway = false;
  ahead = 10_000;
  await machine.advance(30_000);
  assertEquals(clock.now(), machine.now() + 10_000);
  assertEquals(log.lines.length, 1);
  clock.stop();
  ahead = 0;
  await machine.advance(100_000);
  assertEquals(clock.now(), machine.now() + 10_000, "a stopped clock asks nobody");
});

Deno.test("cluster clock: a slow answer does not make it tremble", async () => {
  const machine = new ManualClock();
  let slowMs = 0;
  const database = async () => {
    if (slowMs === 0) return machine.now();
    const half = slowMs / 2;
    await new Promise<void>((resolve) => machine.timer(half, resolve));
    const now = machine.now();
    await new Promise<void>((resolve) => machine.timer(half * 0.2, resolve));
    return now;
  };
  const clock = new ClusterClock(machine, new KeptLog());
  await clock.follow(database);
  slowMs = 400;
  await machine.advance(31_000);
  assertEquals(clock.now(), machine.now());
  clock.stop();
});
