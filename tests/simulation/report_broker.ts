/**
 * The queues of reports, log lines and progress of a simulated cluster: durable, with as many receivers as there are
 * API instances. A batch goes to any of them and comes again until its effects are committed. Batches overtake each
 * other, come twice and vanish as the seed says.
 */
import type { LogLine, Report, SignalNotice } from "../../actors/domain/message.ts";
import type { HeldBack, ProgressReport, ReportQueue } from "../../actors/ports/queue.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import type { Chance } from "./chance.ts";
import type { Gate } from "./gate.ts";
import type { MessageRates } from "./profile.ts";
import type { VirtualTime } from "./virtual_time.ts";
import type { Wire } from "./wire.ts";

type Handlers = Parameters<ReportQueue["receive"]>[0];

interface Receiver {
  readonly gate: Gate;
  readonly wire: Wire;
  readonly handlers: Handlers;
}

type Batch =
  | { readonly kind: "reports"; readonly items: readonly Report[] }
  | { readonly kind: "lines"; readonly items: readonly LogLine[] }
  | { readonly kind: "progress"; readonly items: readonly ProgressReport[] }
  | { readonly kind: "signals"; readonly items: readonly SignalNotice[] };

const AGAIN_MS = 200;
/** What a receiver has not acknowledged when it dies, or its link does, comes again after this time at most. */
const UNACKNOWLEDGED_AGAIN_MS = 15_000;

export class ReportBroker {
  readonly receivers = new Set<Receiver>();
  readonly #waiting: Batch[] = [];

  constructor(
    private readonly time: VirtualTime,
    private readonly chance: Chance,
    private readonly rates: MessageRates,
    private readonly isCalm: () => boolean,
  ) {}

  accept(batch: Batch): void {
    const { chance, rates } = this;
    if (this.isCalm()) {
      this.#offer(batch);
      return;
    }
    // A log line or a report that the broker itself loses: its attempt is then taken for lost, and runs again.
    if (chance.happens(rates.lost)) return;
    if (chance.happens(rates.duplicated)) {
      this.time.timer(chance.wait(rates.delayMs * 3), () => this.#offer(batch));
    }
    if (chance.happens(rates.delayed)) this.time.timer(chance.wait(rates.delayMs), () => this.#offer(batch));
    else this.#offer(batch);
  }

  join(receiver: Receiver): () => void {
    this.receivers.add(receiver);
    for (const batch of this.#waiting.splice(0)) this.time.soon(() => this.#offer(batch));
    return () => this.receivers.delete(receiver);
  }

  #offer(batch: Batch): void {
    const able = [...this.receivers].filter(({ gate, wire }) => gate.state === "open" && wire.isUp("broker"));
    const receiver = this.chance.oneOf(able);
    if (receiver === undefined) {
      // Nobody is connected: it waits, and is looked at again, for links and processes come back without a word.
      if (this.receivers.size === 0) this.#waiting.push(batch);
      else this.time.timer(1000, () => this.#offer(batch));
      return;
    }
    let isSettled = false;
    const again = (afterMs: number) => {
      if (isSettled) return;
      isSettled = true;
      this.time.timer(afterMs, () => this.#offer(batch));
    };
    const acknowledged = () => {
      // Lost on the way: the same batch comes once more.
      if (receiver.gate.state === "dead" || !receiver.wire.isUp("broker")) again(AGAIN_MS);
      else isSettled = true;
    };
    const cancel = this.time.timer(UNACKNOWLEDGED_AGAIN_MS, () => again(0));
    receiver.gate.pass(() => {
      handed(receiver.handlers, batch).then(acknowledged, () => again(AGAIN_MS)).finally(cancel);
    });
  }
}

function handed(handlers: Handlers, batch: Batch): Promise<void> {
  switch (batch.kind) {
    case "reports":
      return handlers.reports(batch.items);
    case "lines":
      return handlers.lines(batch.items);
    case "progress":
      return handlers.progress(batch.items);
    case "signals":
      return handlers.signals(batch.items);
  }
}

/** The report queues as one process sees them. */
export class WiredReports implements ReportQueue {
  readonly #leave = new Set<() => void>();

  constructor(
    private readonly broker: ReportBroker,
    private readonly wire: Wire,
    private readonly gate: Gate,
  ) {}

  sendReports(reports: readonly Report[]): Promise<void> {
    return this.#send("sendReports", { kind: "reports", items: reports });
  }

  heldBack(): HeldBack {
    return { count: 0, ended: [] };
  }

  sendLines(lines: readonly LogLine[]): Promise<void> {
    return this.#send("sendLines", { kind: "lines", items: lines });
  }

  sendProgress(progress: ProgressReport): void {
    this.#send("sendProgress", { kind: "progress", items: [progress] }).catch(() => {});
  }

  sendSignal(signal: SignalNotice): void {
    this.#send("sendSignal", { kind: "signals", items: [signal] }).catch(() => {});
  }

  receive(handlers: Handlers): Promise<{ stop(): Promise<void> }> {
    if (!this.wire.isUp("broker")) {
      return this.wire.call("broker", "receive", () => Promise.reject(new Unavailable("simulated: receive")));
    }
    const leave = this.broker.join({ gate: this.gate, wire: this.wire, handlers });
    this.#leave.add(leave);
    return Promise.resolve({
      stop: () => {
        leave();
        return Promise.resolve();
      },
    });
  }

  die(): void {
    for (const leave of this.#leave) leave();
  }

  #send(method: string, batch: Batch): Promise<void> {
    return this.wire.call("broker", method, () => {
      this.broker.accept(batch);
      return Promise.resolve();
    });
  }
}
