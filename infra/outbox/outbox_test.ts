import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { LogLine, Report } from "../../actors/domain/message.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { FakeBroker } from "../../tests/support/fake_broker.ts";
import { KeptLog, KeptMeter } from "../../tests/support/quiet.ts";
import { until } from "../../tests/support/turns.ts";
import { openDatabase } from "../embedded/database.ts";
import { OUTBOX_MIGRATIONS } from "./held_file.ts";
import { Outbox } from "./outbox.ts";
import { OutboxFolder } from "./outbox_folder.ts";

/** Instances on one folder, with one broker and one clock. */
class World implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly broker = new FakeBroker();
  readonly log = new KeptLog();
  readonly meter = new KeptMeter();
  readonly #opened: Outbox[] = [];

  private constructor(readonly root: string, readonly folder: string) {}

  static async make(): Promise<World> {
    const root = await Deno.makeTempDir({ prefix: "milvaion-outbox-" });
    return new World(root, `${root}/outbox`);
  }

  instance(
    instanceId: string,
    options: { readonly storeId?: string; readonly folder?: string } = {},
  ): Outbox {
    const { clock, log, meter } = this;
    const outbox = new Outbox({
      wire: this.broker.wire(),
      folder: new OutboxFolder(options.folder ?? this.folder, log),
      origin: { storeId: options.storeId ?? "store", instanceId, madeAt: clock.now() },
      lookEachMs: 5000,
      clock,
      log,
      meter,
    });
    this.#opened.push(outbox);
    return outbox;
  }

  /** Names of the files, without those of SQLite. */
  get files(): readonly string[] {
    return [...Deno.readDirSync(this.folder)].map(({ name }) => name).filter((name) => !name.includes(".db-"))
      .sort();
  }

  get arrived(): readonly number[] {
    return this.broker.reports.map(({ token }) => token);
  }

  /** Lets time pass until nothing is held back. */
  async sent(outbox: Outbox): Promise<void> {
    await until(() => outbox.count + outbox.lineCount === 0, () => this.clock.advance(250));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A broker that is away keeps no close waiting.
    this.broker.goesAway();
    for (const outbox of this.#opened) {
      const closing = outbox.close();
      let isClosed = false;
      closing.finally(() => isClosed = true);
      await until(() => isClosed, () => this.clock.advance(1000));
    }
    await Deno.remove(this.root, { recursive: true });
  }
}

function report(token: number): Report {
  return {
    occurrenceId: `0190a000-0000-7000-8000-${String(token).padStart(12, "0")}`,
    scheduledFor: 1000,
    jobId: "job",
    token,
    workerId: "pool",
    instanceId: "instance",
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    outcome: { kind: "completed", result: '{"secret":"of the job"}' },
  };
}

function line(sequence: number): LogLine {
  const { occurrenceId, scheduledFor } = report(1);
  return { occurrenceId, scheduledFor, token: 1, sequence, at: 1, level: "info", message: "m", fields: null };
}

Deno.test("outbox: a report that the broker confirms never touches the disk, and no file is left", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  await outbox.sendReports([report(1)]);
  assertEquals([world.arrived, outbox.count, world.meter.counted.size], [[1], 0, 0]);
  await outbox.close();
  assertEquals(world.files, []);
});

Deno.test("outbox: while the broker is away reports are safe at once, their attempts are named, and they go in order", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.goesAway();
  await outbox.sendReports([report(1), report(2)]);
  await outbox.sendReports([report(3)]);
  assertEquals(outbox.heldBack().ended.map(({ token }) => token), [1, 2, 3]);
  assertEquals(outbox.heldBack().ended[0], {
    occurrenceId: report(1).occurrenceId,
    scheduledFor: 1000,
    token: 1,
  });
  assertEquals(world.meter.counted.get("reports_held_back_total"), 3);
  world.broker.comesBack();
  // It is not known yet that the broker is back: what comes goes behind what waits.
  const behind = outbox.sendReports([report(4)]);
  await world.sent(outbox);
  await behind;
  assertEquals(world.arrived, [1, 2, 3, 4]);
  assertEquals(outbox.heldBack(), { count: 0, ended: [] });
  await outbox.sendReports([report(5)]);
  assertEquals(world.meter.counted.get("reports_held_back_total"), 4, "then the disk is left alone again");
  assertEquals(world.log.complaints, ["RabbitMQ takes no reports: they are held back on disk"]);
});

Deno.test("outbox: what is not confirmed within a second is safe on the disk, and confirmed later it is not sent twice", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.fallsSilent();
  const first = outbox.sendReports([report(1)]);
  const second = outbox.sendReports([report(2)]);
  await world.clock.advance(999);
  assertEquals(outbox.count, 0);
  await world.clock.advance(1);
  await Promise.all([first, second]);
  assertEquals(outbox.count, 2);
  await world.clock.advance(3000);
  world.broker.comesBack();
  await world.sent(outbox);
  assertEquals(world.arrived, [1, 2]);
});

Deno.test("outbox: a connection lost under unconfirmed reports sends all of them again, in their order, before younger ones", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.fallsSilent();
  const sent = [1, 2, 3].map((token) => outbox.sendReports([report(token)]));
  world.broker.goesAway(1);
  sent.push(outbox.sendReports([report(4)]));
  await Promise.all(sent);
  world.broker.comesBack();
  await world.sent(outbox);
  assertEquals(world.arrived, [1, 1, 2, 3, 4]);
});

Deno.test("outbox: what is written when the broker blocks goes behind what is under way, should that be lost", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.fallsSilent();
  const sent = [outbox.sendReports([report(1)])];
  world.broker.blocks();
  sent.push(outbox.sendReports([report(2)]));
  await Promise.all(sent);
  world.broker.goesAway();
  world.broker.comesBack();
  await world.sent(outbox);
  assertEquals(world.arrived, [1, 2]);
});

Deno.test("outbox: while the last held reports are under way younger ones wait in memory for a second at most", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.goesAway();
  await outbox.sendReports([report(1)]);
  world.broker.fallsSilent();
  const before = world.broker.calls;
  await until(() => world.broker.calls > before, () => world.clock.advance(250));
  const held = () => world.meter.counted.get("reports_held_back_total");
  const second = outbox.sendReports([report(2)]);
  await world.clock.advance(999);
  assertEquals(held(), 1);
  await world.clock.advance(1);
  await second;
  assertEquals(held(), 2);
  world.broker.comesBack();
  await world.sent(outbox);
  assertEquals(world.arrived, [1, 2]);
});

Deno.test("outbox: what an instance leaves is adopted at the next start, sent, and its file deleted; only its user can read it", async () => {
  await using world = await World.make();
  const before = world.instance("before");
  world.broker.goesAway();
  await before.sendReports([report(1)]);
  await before.sendReports([report(2)]);
  for (const { name } of Deno.readDirSync(world.folder)) {
    const { mode } = Deno.statSync(`${world.folder}/${name}`);
    assertEquals((mode ?? 0) & 0o777, 0o600, name);
  }
  assertEquals((Deno.statSync(world.folder).mode ?? 0) & 0o777, 0o700);
  await before.close();
  assertEquals(world.files, ["before.db", "before.lock"]);
  assertMatch(world.log.complaints.at(-1) ?? "", /Reports are left in the outbox/);

  const after = world.instance("after");
  assertEquals(
    after.heldBack().ended.map(({ token }) => token),
    [1, 2],
    "their leases are kept from the first moment",
  );
  await after.sendReports([report(3)]);
  world.broker.comesBack();
  await world.sent(after);
  assertEquals(world.arrived, [1, 2, 3], "what is older goes first");
  assertEquals(world.broker.reports[0], report(1));
  await after.close();
  assertEquals(world.files, []);
});

Deno.test("outbox: a run that was handed back keeps no lease, now or adopted: the end of its lease runs it again, too", async () => {
  await using world = await World.make();
  const before = world.instance("before");
  world.broker.goesAway();
  const handedBack: Report = { ...report(2), outcome: { kind: "handedBack", why: "stopping" } };
  await before.sendReports([report(1), handedBack]);
  const names = (outbox: Outbox) => outbox.heldBack().ended.map(({ token }) => token);
  assertEquals([names(before), before.heldBack().count], [[1], 2]);
  await before.close();
  const after = world.instance("after");
  assertEquals([names(after), after.heldBack().count], [[1], 2]);
  world.broker.comesBack();
  await world.sent(after);
  assertEquals(world.broker.reports, [report(1), handedBack]);
});

Deno.test("outbox: told to stop while the broker says nothing, it writes what is unconfirmed and is gone within a second", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.fallsSilent();
  const sent = outbox.sendReports([report(1)]);
  const closing = outbox.close();
  await sent;
  await closing;
  await assertRejects(() => outbox.sendReports([report(2)]), Error, "closed");
  world.broker.goesAway();
  world.broker.comesBack();
  const after = world.instance("after");
  await world.sent(after);
  assertEquals(world.arrived, [1]);
});

Deno.test("outbox: instances on one folder leave each other's files alone while they live, and never adopt one twice", async () => {
  await using world = await World.make();
  const [dies, b, c] = [world.instance("dies"), world.instance("b"), world.instance("c")];
  world.broker.goesAway();
  await dies.sendReports([report(1)]);
  await world.clock.advance(60_000);
  assertEquals([b.count, c.count], [0, 0]);
  await dies.close();
  await world.clock.advance(5000);
  assertEquals([b.count, c.count].sort(), [0, 1], "a neighbour finds it at its next look");
  world.broker.comesBack();
  await world.sent(b);
  await world.sent(c);
  assertEquals(world.arrived, [1]);
});

Deno.test("outbox: a file of another store, of a newer program, or a damaged one is left as it is, and said once", async () => {
  await using world = await World.make();
  world.broker.goesAway();
  const foreign = world.instance("foreign", { storeId: "another" });
  await foreign.sendReports([report(1)]);
  await foreign.close();
  openDatabase(`${world.folder}/newer.db`, [...OUTBOX_MIGRATIONS, "SELECT 1"]).close();
  Deno.writeTextFileSync(`${world.folder}/damaged.db`, "this is no database, however one looks at it");
  const before = world.log.complaints.length;
  const outbox = world.instance("a");
  await world.clock.advance(60_000);
  const said = world.log.complaints.slice(before);
  assertEquals(said.length, 3, said.join("\n"));
  for (const part of [/another store/, /newer\.db has schema version 2/, /damaged\.db is damaged/]) {
    assert(said.some((one) => part.test(one)), `${part} in ${said}`);
  }
  assertEquals(outbox.count, 0);
  const again = world.instance("foreign-again", { storeId: "another" });
  assertEquals(again.count, 1, "its own store gets it");
});

Deno.test("outbox: a file whose writer died before it wrote anything goes", async () => {
  await using world = await World.make();
  Deno.mkdirSync(world.folder);
  Deno.writeTextFileSync(`${world.folder}/empty.db`, "");
  const outbox = world.instance("a");
  await until(() => !world.files.includes("empty.db"), () => world.clock.advance(0));
  assertEquals(world.files, ["a.db", "a.lock"]);
  await outbox.close();
});

Deno.test("outbox: a folder that cannot be written leaves reports to their sender, with a warning and a figure, until it can be", async () => {
  await using world = await World.make();
  Deno.writeTextFileSync(world.folder, "a file where the folder should be");
  const outbox = world.instance("a");
  await outbox.sendReports([report(1)]);
  assertEquals(world.arrived, [1], "a broker that is there needs no disk");
  world.broker.goesAway();
  await assertRejects(() => outbox.sendReports([report(2)]), Error, "no outbox");
  await assertRejects(() => outbox.sendReports([report(2)]), Error, "no outbox");
  assertEquals(world.meter.counted.get("outbox_write_failures_total"), 2);
  assertEquals(world.log.complaints.length, 1);
  assertMatch(world.log.complaints[0] ?? "", /reports wait in memory.*Cannot write to the outbox/);
  Deno.removeSync(world.folder);
  await world.clock.advance(5000);
  await outbox.sendReports([report(2)]);
  assertEquals(outbox.count, 1);
  world.broker.comesBack();
  await world.sent(outbox);
  assertEquals(world.arrived, [1, 2]);
});

Deno.test("outbox: beyond twenty thousand reports each further one waits two seconds, so that intake slows down", async () => {
  await using world = await World.make();
  const outbox = world.instance("a");
  world.broker.goesAway();
  await outbox.sendReports(Array.from({ length: 20_000 }, (_, index) => report(index)));
  let isSettled = false;
  const one = outbox.sendReports([report(20_000)]).then(() => isSettled = true);
  await until(() => outbox.count === 20_001, () => Promise.resolve());
  await world.clock.advance(1999);
  assertEquals(isSettled, false);
  await until(() => isSettled, () => world.clock.advance(1));
  await one;
});

Deno.test("outbox: log lines wait on the disk up to a bound, and go after the reports", async () => {
  await using world = await World.make();
  const before = world.instance("before");
  world.broker.goesAway();
  await before.sendReports([report(1)]);
  await before.sendLines([line(0), line(1)]);
  await before.sendLines([line(2)]);
  const many = Array.from({ length: 50_000 }, (_, index) => line(index));
  await assertRejects(() => before.sendLines(many), Error, "RabbitMQ is away");
  await before.close();
  const after = world.instance("after");
  assertEquals(after.lineCount, 3);
  world.broker.comesBack();
  await world.sent(after);
  assertEquals(world.broker.lines.map(({ sequence }) => sequence), [0, 1, 2]);
  await after.close();
  assertEquals(world.files, []);
});
