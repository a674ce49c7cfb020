/** Processor time by time, whoever asks and how often. */
import { assert, assertEquals } from "@std/assert";
import { machineShare, ProcessorGauge, type ProcessorTimes, processorTimes } from "./processors.ts";

const SECOND = 1000;

Deno.test("use is a mean over the last ten seconds, however often it is read", () => {
  for (const everySeconds of [1, 4]) {
    let [ownMs, hostsMs, busyMs] = [500, 0, 0];
    let mono = 0;
    const times = (): ProcessorTimes => ({ ownMs, machine: { busyMs, processors: 4 } });
    const gauge = new ProcessorGauge({ clock: { mono: () => mono }, hostsCpuMs: () => hostsMs, times });
    assertEquals(gauge.read(), null, "a moment is no time");
    for (let second = 1; second <= 40; second++) {
      mono += SECOND;
      // Busy with one and a half processors for twenty seconds, then with none.
      if (second <= 20) [ownMs, hostsMs, busyMs] = [ownMs + 500, hostsMs + SECOND, busyMs + 3 * SECOND];
      if (second % everySeconds !== 0) continue;
      const use = gauge.read();
      const [used, machine] = second <= 20 ? [1.5, 0.75] : [0, 0];
      if (second > 20 && second < 34) continue;
      assert(Math.abs((use?.used ?? NaN) - used) < 1e-9);
      assert(Math.abs((use?.machineShare ?? NaN) - machine) < 1e-9);
    }
  }
});

Deno.test("the machine's share is null where it may not be asked, and never more than all", () => {
  assertEquals(machineShare(null, null, 5), null);
  assertEquals(machineShare({ busyMs: 0, processors: 2 }, { busyMs: 50_000, processors: 2 }, 5), 1);
  assertEquals(machineShare({ busyMs: 9, processors: 2 }, { busyMs: 4, processors: 2 }, 5), 0);
});

Deno.test("the system tells this process's time and the machine's, in milliseconds", () => {
  const began = performance.now();
  const before = processorTimes();
  while (processorTimes().ownMs - before.ownMs < 50);
  const after = processorTimes();
  const tookMs = performance.now() - began;
  assert(after.ownMs - before.ownMs >= 50);
  assert(before.machine !== null && after.machine !== null && after.machine.processors > 0);
  const busyMs = after.machine.busyMs - before.machine.busyMs;
  assert(busyMs <= (tookMs + 100) * after.machine.processors, `${busyMs} ms in ${tookMs} ms`);
});
