/** The contract of `ReportQueue`: nothing settles before it is safe, nothing that is safe is lost. */
import type { LogLine, Report, SignalNotice } from "../../actors/domain/message.ts";
import type { ProgressReport, ReportQueue } from "../../actors/ports/queue.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { assertEquals } from "@std/assert";
import { report } from "../support/messages.ts";
import { Inbox } from "./inbox.ts";

export type ReportQueueFactory = (
  clock: ManualClock,
) => Promise<{ readonly reports: ReportQueue; close(): Promise<void> }>;

/**
 * committed: a sender is told when the receiver's effects are committed. confirmed: when the queue itself keeps the
 * report, whoever dies.
 */
export type SafeWhen = "committed" | "confirmed";

export function reportQueueContract(
  name: string,
  factory: ReportQueueFactory,
  safeWhen: SafeWhen = "committed",
): void {
  const promise = (sentence: string, body: (reports: ReportQueue, clock: ManualClock) => Promise<void>) =>
    Deno.test(`${name} report queue: ${sentence}`, async () => {
      const clock = new ManualClock();
      const { reports, close } = await factory(clock);
      try {
        await body(reports, clock);
      } finally {
        await close();
      }
    });

  if (safeWhen === "committed") {
    promise("a sender is told once the receiver has committed", async (reports) => {
      const receiver = new Receiver();
      const { stop } = await reports.receive(receiver.handlers);
      let isSafe = false;
      const sent = reports.sendReports([report(1)]).then(() => isSafe = true);
      const batch = await receiver.next();
      assertEquals([batch.items.length, isSafe], [1, false]);
      batch.commit();
      await sent;
      await stop();
    });
  } else {
    promise(
      "a sender is told once the queue keeps the report, with nobody to receive it",
      async (reports) => {
        await reports.sendReports([report(1), report(2)]);
        await reports.sendLines([line()]);
        const receiver = new Receiver();
        const { stop } = await reports.receive(receiver.handlers);
        const batch = await receiver.next();
        assertEquals(batch.items.map(tokenOf), [1, 2]);
        batch.commit();
        await stop();
      },
    );

    promise("what was not committed when a receiver stopped comes to the next", async (reports) => {
      const first = new Receiver();
      const receiving = await reports.receive(first.handlers);
      await reports.sendReports([report(1)]);
      const batch = await first.next();
      const stopping = receiving.stop();
      batch.fail();
      await stopping;
      const second = new Receiver();
      const { stop } = await reports.receive(second.handlers);
      const again = await second.next();
      assertEquals(again.items.map(tokenOf), [1]);
      again.commit();
      await stop();
    });
  }

  promise("while one batch is with the receiver the next gathers", async (reports) => {
    const receiver = new Receiver();
    const { stop } = await reports.receive(receiver.handlers);
    const sent = [reports.sendReports([report(1)])];
    const first = await receiver.next();
    sent.push(reports.sendReports([report(2)]), reports.sendReports([report(3), report(4)]));
    first.commit();
    const gathered: number[] = [];
    let batches = 0;
    while (gathered.length < 3) {
      const next = await receiver.next();
      gathered.push(...next.items.map(tokenOf));
      batches += 1;
      next.commit();
    }
    assertEquals(gathered, [2, 3, 4]);
    // Over a wire they may arrive apart.
    if (safeWhen === "committed") assertEquals(batches, 1);
    await Promise.all(sent);
    await stop();
  });

  promise("a batch that was rejected comes again, before younger ones", async (reports, clock) => {
    const receiver = new Receiver();
    const { stop } = await reports.receive(receiver.handlers);
    const sent = [reports.sendReports([report(1)])];
    const first = await receiver.next();
    sent.push(reports.sendReports([report(2)]));
    first.fail();
    const again = await receiver.nextAfter(clock);
    assertEquals(again.items.map(tokenOf).slice(0, 1), [1]);
    if (safeWhen === "committed") assertEquals(again.items.map(tokenOf), [1, 2]);
    again.commit();
    if (again.items.length === 1) (await receiver.next()).commit();
    await Promise.all(sent);
    await stop();
  });

  promise("what nobody received waits for the next receiver", async (reports) => {
    const sent = reports.sendReports([report(1)]);
    const first = new Receiver();
    const receiving = await reports.receive(first.handlers);
    const batch = await first.next();
    const stopping = receiving.stop();
    batch.fail();
    await stopping;
    const second = new Receiver();
    const { stop } = await reports.receive(second.handlers);
    const again = await second.next();
    assertEquals(again.items.map(tokenOf), [1]);
    again.commit();
    await sent;
    await stop();
  });

  promise("lines and progress do not wait for reports", async (reports) => {
    const receiver = new Receiver();
    const { stop } = await reports.receive(receiver.handlers);
    const sent = reports.sendReports([report(1)]);
    const stuck = await receiver.next();
    await reports.sendLines([line()]);
    reports.sendProgress(progress());
    assertEquals([await receiver.lines.take(1), await receiver.progress.take(1)], [[line()], [progress()]]);
    stuck.commit();
    await sent;
    await stop();
  });

  promise("that an abort signal was given arrives beside reports, each of them", async (reports) => {
    const receiver = new Receiver();
    const { stop } = await reports.receive(receiver.handlers);
    const signal = (token: number): SignalNotice => ({
      occurrenceId: "occurrence-1",
      scheduledFor: 1_767_225_600_000,
      token,
      instanceId: "worker-1",
      cause: token === 1 ? "cancelled" : "timedOut",
      at: 1_767_225_601_000,
    });
    reports.sendSignal(signal(1));
    reports.sendSignal(signal(2));
    assertEquals(await receiver.signals.take(2), [signal(1), signal(2)]);
    const sent = reports.sendReports([{ ...report(1), signalledAt: 5 }]);
    const batch = await receiver.next();
    assertEquals(batch.items.map((one) => one.signalledAt), [5]);
    batch.commit();
    await sent;
    await stop();
  });

  promise("sending nothing is done at once", async (reports) => {
    await reports.sendReports([]);
    await reports.sendLines([]);
  });
}

interface Batch {
  readonly items: readonly Report[];
  readonly commit: () => void;
  readonly fail: () => void;
}

class Receiver {
  readonly #batches = new Inbox<Batch>();
  readonly lines = new Inbox<LogLine>();
  readonly progress = new Inbox<ProgressReport>();
  readonly signals = new Inbox<SignalNotice>();

  readonly handlers: Parameters<ReportQueue["receive"]>[0] = {
    reports: (items) =>
      new Promise((resolve, reject) =>
        this.#batches.push([{ items, commit: resolve, fail: () => reject(new Error("the store is away")) }])
      ),
    lines: (items) => Promise.resolve(this.lines.push(items)),
    progress: (items) => Promise.resolve(this.progress.push(items)),
    signals: (items) => Promise.resolve(this.signals.push(items)),
  };

  async next(): Promise<Batch> {
    const [batch] = await this.#batches.take(1);
    if (batch === undefined) throw new Error("no batch came");
    return batch;
  }

  /** The next batch, letting time pass until it comes. */
  async nextAfter(clock: ManualClock): Promise<Batch> {
    const batch = this.next();
    while (this.#batches.isAwaited) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      await clock.advance(100);
    }
    return await batch;
  }
}

function tokenOf(one: Report): number {
  return one.token;
}

function line(): LogLine {
  return {
    occurrenceId: "01a00000-0000-7000-8000-000000000001",
    scheduledFor: 0,
    token: 1,
    sequence: 0,
    at: 1,
    level: "info",
    message: "hello",
    fields: null,
  };
}

function progress(): ProgressReport {
  return {
    occurrenceId: "01a00000-0000-7000-8000-000000000001",
    scheduledFor: 0,
    token: 1,
    done: 1,
    total: 2,
    at: 1,
  };
}
