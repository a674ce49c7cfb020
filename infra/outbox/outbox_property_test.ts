/**
 * Any interleaving of outages, crashes, restarts and adoptions: each report that was said to be safe arrives at
 * least once, those of one instance in the order in which it sent them, and none is lost.
 *
 * A crash is what a power cut leaves: the bytes of the folder at that moment, and none of the memory.
 */
import fc from "fast-check";
import { assertEquals } from "@std/assert";
import type { Report } from "../../actors/domain/message.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { FakeBroker } from "../../tests/support/fake_broker.ts";
import { KeptLog, KeptMeter } from "../../tests/support/quiet.ts";
import { until } from "../../tests/support/turns.ts";
import { Outbox } from "./outbox.ts";
import { OutboxFolder } from "./outbox_folder.ts";

const SEATS = [0, 1] as const;

type Step =
  | { readonly kind: "send"; readonly seat: 0 | 1; readonly count: number }
  | { readonly kind: "start" | "stop"; readonly seat: 0 | 1 }
  | { readonly kind: "away"; readonly arrived: number }
  | { readonly kind: "silent" | "blocked" | "back" | "crash" }
  | { readonly kind: "pass"; readonly ms: number };

const seat = fc.constantFrom(...SEATS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("send" as const), seat, count: fc.nat({ max: 3 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.nat({ max: 6000 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("away" as const), arrived: fc.nat({ max: 3 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("silent" as const, "blocked" as const, "back" as const) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("start" as const, "stop" as const), seat }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const) }) },
);

interface Living {
  readonly outbox: Outbox;
  readonly instanceId: string;
  readonly cut: () => void;
}

class History {
  readonly clock = new ManualClock();
  readonly broker = new FakeBroker();
  readonly seats: (Living | null)[] = [null, null];
  /** By instance: what was said to be safe, in the order in which it was sent. */
  readonly safe = new Map<string, Set<number>>();
  readonly #gone: { readonly outbox: Outbox; readonly cut: () => void }[] = [];
  #folder: string;
  #instances = 0;
  #reports = 0;
  #crashes = 0;

  constructor(readonly root: string) {
    this.#folder = `${root}/0`;
  }

  start(at: number): void {
    this.#instances += 1;
    const instanceId = `i${this.#instances}`;
    const wire = this.broker.wire();
    const outbox = new Outbox({
      wire,
      folder: new OutboxFolder(this.#folder, new KeptLog()),
      origin: { storeId: "store", instanceId, madeAt: this.clock.now() + this.#instances },
      lookEachMs: 5000,
      clock: this.clock,
      log: new KeptLog(),
      meter: new KeptMeter(),
    });
    this.safe.set(instanceId, new Set());
    this.seats[at] = { outbox, instanceId, cut: wire.cut };
  }

  send(at: number, count: number): void {
    const living = this.seats[at];
    if (living === null || living === undefined) return;
    const reports = Array.from({ length: count }, () => report(++this.#reports, living.instanceId));
    living.outbox.sendReports(reports).then(() => {
      // What a dead process is told does not count.
      if (this.seats.includes(living)) this.#note(living.instanceId, reports);
    }, () => {}); // its sender's, who sends it again or dies with it
  }

  #note(instanceId: string, reports: readonly Report[]): void {
    for (const { token } of reports) this.safe.get(instanceId)?.add(token);
  }

  async stop(at: number): Promise<void> {
    const living = this.seats[at];
    if (living === null || living === undefined) return;
    let isClosed = false;
    living.outbox.close().finally(() => isClosed = true);
    await until(() => isClosed, () => this.clock.advance(1000));
    this.seats[at] = null;
  }

  /** All instances die at once. What lies on the disk at this moment is all that is left. */
  crash(): void {
    this.#crashes += 1;
    const left = this.#folder;
    this.#folder = `${this.root}/${this.#crashes}`;
    Deno.mkdirSync(this.#folder);
    for (const { name } of isFolder(left) ? Deno.readDirSync(left) : []) {
      if (!name.endsWith(".lock")) Deno.copyFileSync(`${left}/${name}`, `${this.#folder}/${name}`);
    }
    for (const living of this.seats.splice(0, 2, null, null)) {
      if (living === null) continue;
      living.cut();
      this.#gone.push(living);
    }
  }

  async perform(one: Step): Promise<void> {
    switch (one.kind) {
      case "send":
        this.send(one.seat, one.count);
        return;
      case "start":
        if (this.seats[one.seat] === null) this.start(one.seat);
        return;
      case "stop":
        return await this.stop(one.seat);
      case "away":
        this.broker.goesAway(one.arrived);
        return;
      case "silent":
        if (this.broker.mode === "good") this.broker.fallsSilent();
        return;
      case "blocked":
        if (this.broker.mode !== "away") this.broker.blocks();
        return;
      case "back":
        this.broker.comesBack();
        return;
      case "crash":
        this.crash();
        return;
      case "pass":
        return await this.clock.advance(one.ms);
    }
  }

  /** The broker comes back for good, somebody lives, and everything that waits goes out. */
  async end(): Promise<void> {
    this.broker.comesBack();
    await this.stop(0);
    await this.stop(1);
    this.start(0);
    const last = this.seats[0]?.outbox;
    await until(() => last?.count === 0, () => this.clock.advance(250));
    await this.stop(0);
    for (const { outbox } of this.#gone) {
      let isClosed = false;
      outbox.close().finally(() => isClosed = true);
      await until(() => isClosed, () => this.clock.advance(1000));
    }
    const left = isFolder(this.#folder) ? [...Deno.readDirSync(this.#folder)].map(({ name }) => name) : [];
    assertEquals(left, [], "files that hold nothing are deleted");
  }
}

Deno.test("outbox: whatever happens, each safe report arrives, in its instance's order, and none is lost", async () => {
  const root = await Deno.makeTempDir({ prefix: "milvaion-outbox-" });
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      runs += 1;
      const history = new History(`${root}/${runs}`);
      Deno.mkdirSync(history.root);
      history.start(0);
      for (const one of steps) {
        await history.perform(one);
        // A turn for what is being written.
        let turns = 0;
        await until(() => turns++ > 0, () => Promise.resolve());
      }
      await history.end();
      for (const [instanceId, safe] of history.safe) {
        const arrived = [
          ...new Set(
            history.broker.reports.filter((one) => one.instanceId === instanceId).map(({ token }) => token),
          ),
        ];
        assertEquals(arrived, arrived.toSorted((a, b) => a - b), `${instanceId}: in order`);
        assertEquals([...safe].filter((token) => !arrived.includes(token)), [], `${instanceId}: none lost`);
      }
    }),
    { numRuns: 150 },
  );
  await Deno.remove(root, { recursive: true });
});

function report(token: number, instanceId: string): Report {
  return {
    occurrenceId: "0190a000-0000-7000-8000-000000000000",
    scheduledFor: 1000,
    jobId: "job",
    token,
    workerId: "pool",
    instanceId,
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    outcome: { kind: "completed", result: null },
  };
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
