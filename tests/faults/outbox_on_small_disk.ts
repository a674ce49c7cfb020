/** Fills the disk under an outbox, frees it and goes on; exit 0 when all is well. The folder is the argument. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { Report } from "../../actors/domain/message.ts";
import { systemClock } from "../../infra/clock.ts";
import { Outbox } from "../../infra/outbox/outbox.ts";
import { OutboxFolder } from "../../infra/outbox/outbox_folder.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { KeptLog, KeptMeter } from "../support/quiet.ts";
import { until } from "../support/turns.ts";

const [folder = ""] = Deno.args;
const ballast = `${folder}/ballast`;
const broker = new FakeBroker();
const log = new KeptLog();
const meter = new KeptMeter();

function open(instanceId: string): Outbox {
  return new Outbox({
    wire: broker.wire(),
    folder: new OutboxFolder(`${folder}/outbox`, log),
    origin: { storeId: "store", instanceId, madeAt: systemClock.now() },
    lookEachMs: 5000,
    clock: systemClock,
    log,
    meter,
  });
}

function report(token: number): Report {
  return {
    occurrenceId: "0190a000-0000-7000-8000-000000000000",
    scheduledFor: 1000,
    jobId: "job",
    token,
    workerId: "pool",
    instanceId: "instance",
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    outcome: { kind: "completed", result: JSON.stringify("x".repeat(5000)) },
  };
}

Deno.writeFileSync(ballast, new Uint8Array(1024 * 1024));
const outbox = open("a");
broker.goesAway();
let safe = 0;
const full = await assertRejects(async () => {
  while (true) {
    await outbox.sendReports([report(safe + 1)]);
    safe += 1;
  }
});
assertStringIncludes((full as Error).message, "full");
assert(safe > 10, `${safe} were taken before`);
assertEquals(meter.counted.get("outbox_write_failures_total"), 1);
assertStringIncludes(log.complaints.at(-1) ?? "", "reports wait in memory");

// The broker is back while the disk is still full: what is on it goes, and what comes needs no disk.
broker.comesBack();
await outbox.sendReports([report(safe + 1)]);
await until(() => outbox.count === 0, () => Promise.resolve());
const arrived = new Set(broker.reports.map(({ token }) => token));
assertEquals(arrived.size, safe + 1, "none is lost");

Deno.removeSync(ballast);
broker.goesAway();
await outbox.sendReports([report(safe + 2)]);
assertEquals(outbox.count, 1, "there is room again, and it is used");
await outbox.close();

const after = open("b");
assertEquals(
  after.heldBack().ended.map(({ token }) => token),
  [safe + 2],
  "what had gone comes back no more",
);
broker.comesBack();
await until(() => after.count === 0, () => Promise.resolve());
await after.close();
assertEquals([...Deno.readDirSync(`${folder}/outbox`)].map(({ name }) => name), []);
