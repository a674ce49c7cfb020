/** The port `ReportQueue` over RabbitMQ: safe means confirmed by the broker, on a quorum queue on disk. */
import type { LogLine, Report, SignalNotice } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { HeldBack, ProgressReport, ReportQueue } from "../../actors/ports/queue.ts";
import type { Identity } from "./identity.ts";
import { ItemReceiver } from "./item_receiver.ts";
import { ItemSender } from "./item_sender.ts";
import type { Link } from "./link.ts";
import type { Parking } from "./parking.ts";
import { ProgressReceiver, ProgressSender } from "./progress.ts";
import { Publisher } from "./publisher.ts";
import { StandbyChoice, type Topology } from "./topology.ts";
import { readLines, readReports } from "./wire.ts";

export interface ReportQueueDeps {
  readonly publishLink: Link;
  readonly consumeLink: Link;
  readonly topology: Topology;
  readonly parking: Parking;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Log;
}

/** Messages of a kind that may be here unacknowledged: of up to 100 items each. */
const REPORT_MESSAGES = 200;
const LINE_MESSAGES = 20;
const UNCONFIRMED_MESSAGES = 1000;

type Handlers = Parameters<ReportQueue["receive"]>[0];

export class RabbitReportQueue implements ReportQueue {
  readonly #publishers: readonly Publisher[];
  readonly #reportPublisher: Publisher;
  readonly #reports: ItemSender<Report>;
  readonly #lines: ItemSender<LogLine>;
  readonly #progress: ProgressSender;

  constructor(private readonly deps: ReportQueueDeps) {
    const { topology } = deps;
    const reports = this.#publisher("send reports", topology.reports, () => this.#reports.wake());
    const lines = this.#publisher("send lines", topology.lines, () => this.#lines.wake());
    const progressQueue = new StandbyChoice(topology.progress, topology.progressStandby);
    const progress = new Publisher({
      ...this.#publishing("send progress"),
      setUp: (channel) => progressQueue.declare((name) => topology.declareProgress(channel, name)),
    });
    this.#publishers = [reports, lines, progress];
    this.#reportPublisher = reports;
    const sender = { clock: deps.clock, storeId: () => deps.identity.storeId };
    this.#reports = new ItemSender({
      ...sender,
      kind: "reports",
      queue: topology.reports,
      publisher: reports,
    });
    this.#lines = new ItemSender({ ...sender, kind: "lines", queue: topology.lines, publisher: lines });
    this.#progress = new ProgressSender({ ...deps, publisher: progress, queue: () => progressQueue.name });
  }

  sendReports(reports: readonly Report[]): Promise<void> {
    return this.#reports.send(reports);
  }

  /** Nothing: what is not safe yet is the sender's. */
  heldBack(): HeldBack {
    return { count: 0, ended: [] };
  }

  sendLines(lines: readonly LogLine[]): Promise<void> {
    return this.#lines.send(lines);
  }

  sendProgress(progress: ProgressReport): void {
    this.#progress.send(progress);
  }

  sendSignal(signal: SignalNotice): void {
    this.#progress.sendSignal(signal);
  }

  async receive(handlers: Handlers): Promise<{ stop(): Promise<void> }> {
    const { deps } = this;
    const common = { ...deps, link: deps.consumeLink, isOurs: deps.identity.isOurs };
    const reports = new ItemReceiver<Report>({
      ...common,
      kind: "reports",
      queue: deps.topology.reports,
      prefetch: REPORT_MESSAGES,
      read: readReports,
      handle: handlers.reports,
    });
    const lines = new ItemReceiver<LogLine>({
      ...common,
      kind: "lines",
      queue: deps.topology.lines,
      prefetch: LINE_MESSAGES,
      read: readLines,
      handle: handlers.lines,
    });
    const { progress: queue, progressStandby } = deps.topology;
    const progress = [queue, progressStandby].map((one) =>
      new ProgressReceiver({
        ...common,
        queue: one,
        progress: handlers.progress,
        signals: handlers.signals,
      })
    );
    const receivers = [reports, lines, ...progress];
    const stop = async () => {
      await Promise.all(receivers.map((one) => one.stop()));
    };
    try {
      // Progress may be lost, and its queue may be away with a node.
      await Promise.all([reports.whenUp(), lines.whenUp(), Promise.any(progress.map((one) => one.whenUp()))]);
    } catch (error) {
      await stop();
      throw error;
    }
    return { stop };
  }

  /** False while it is known that the broker takes nothing from here. */
  get takesReports(): boolean {
    return this.#reportPublisher.isUp && this.deps.publishLink.blockedReason === null;
  }

  whenUp(): Promise<unknown> {
    return Promise.all(this.#publishers.map((one) => one.whenUp()));
  }

  /** Waits up to `ms` for what is not confirmed. */
  async close(ms: number): Promise<void> {
    this.#progress.close();
    await Promise.all([this.#reports.close(ms), this.#lines.close(ms)]);
    await Promise.all(this.#publishers.map((one) => one.close(0)));
  }

  #publisher(act: string, queue: string, wake: () => void): Publisher {
    return new Publisher({
      ...this.#publishing(act),
      setUp: (channel) => this.deps.topology.declareDurable(channel, queue),
      onUp: wake,
      onRoom: wake,
    });
  }

  #publishing(act: string) {
    const { publishLink, clock, log } = this.deps;
    return { link: publishLink, clock, log, act, bound: UNCONFIRMED_MESSAGES };
  }
}
