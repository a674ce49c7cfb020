/**
 * One worker's consumption of one job type: the type's queue and the one pinned to its pool, on a channel of its own.
 *
 * Both queues share the prefetch. Each may fill it alone, so that a lane takes whatever comes first; what arrives
 * beyond it waits here a moment for a lane (`SPARE_MS`), and then goes back to its queue for somebody who has one,
 * both queues being cut to what they hold until a lane is free.
 *
 * A run longer than the broker's acknowledgement timeout would close the channel, for its neighbours too. Such a
 * delivery is acknowledged early, and counts as held until its run has ended; to give it back is to publish it anew.
 *
 * When the channel is lost, its deliveries are the broker's again: to acknowledge or give them back does nothing.
 */
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Delivery, Subscription } from "../../actors/ports/queue.ts";
import { messageOf } from "./deadline.ts";
import { Intake } from "./intake.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Link } from "./link.ts";
import type { Parking } from "./parking.ts";
import { Settlement } from "./settlement.ts";
import type { Topology } from "./topology.ts";
import { decodeJob } from "./wire.ts";

export interface SubscriptionOptions {
  readonly jobType: string;
  readonly routingPattern: string;
  readonly pool: string;
  readonly prefetch: number;
  readonly ackEarlyAfterMs: number;
}

export interface SubscriptionDeps {
  readonly link: Link;
  readonly topology: Topology;
  readonly parking: Parking;
  readonly clock: Clock;
  readonly log: Log;
  /** True when the message belongs to this cluster's store. */
  readonly isOurs: (storeId: unknown) => boolean;
  /** Another subscription of this process for the type, when two types share one pattern. */
  readonly sibling: (jobType: string) => TypeSubscription | undefined;
  /** The queue had neither messages nor consumers: what was published before may be lost. */
  readonly onNewQueue: (jobType: string, pool: string) => void;
  /** Settles with true when the broker has a new copy. */
  readonly publishAgain: (message: JobMessage) => Promise<boolean>;
}

/** How long a delivery beyond the prefetch waits here for a lane before it goes back. */
const SPARE_MS = 250;
/** A message for a type that this worker does not offer is kept so long before it goes back: no hot circle. */
const NOT_OFFERED_MS = 500;
/** Given back this often, a message for a type that nobody here offers is parked. */
const NOT_OFFERED_AT_MOST = 50;

/** Given back this often, a message is replaced by a new copy, whose count begins at 0. */
const PUBLISH_ANEW_AFTER = 50;

/** One channel's life. */
interface Session {
  readonly settlement: Settlement;
  readonly shared: Intake;
  readonly pinned: Intake;
}

interface Held {
  readonly message: JobMessage;
  readonly tag: number;
  readonly session: Session;
  readonly intake: Intake;
  readonly arrivedAt: number;
  /** How often it came back to its queue before, as far as the broker counts. */
  readonly timesBack: number;
  /** waiting: not handed over yet. early: acknowledged, its run goes on. */
  state: "waiting" | "handed" | "early" | "settled";
}

export class TypeSubscription implements Subscription {
  readonly #channel: KeptChannel;
  #session: Session | null = null;
  #prefetch: number;
  /** Handed over and not settled, oldest first; early ones included. */
  readonly #handed = new Set<Held>();
  /** Beyond the prefetch. */
  #waiting: Held[] = [];
  #givenBack: Held[] = [];
  #early = 0;
  /** Both queues are cut to what they hold. */
  #isCut = false;
  #handOverAsked = false;
  readonly #timers = new Map<"spare" | "early", () => void>();
  readonly #delays = new Set<() => void>();

  constructor(
    private readonly deps: SubscriptionDeps,
    readonly options: SubscriptionOptions,
    private readonly onDeliveries: (deliveries: readonly Delivery[]) => void,
    private readonly onStopped: () => void,
  ) {
    this.#prefetch = options.prefetch;
    this.#channel = new KeptChannel({
      link: deps.link,
      act: `consume ${options.jobType}`,
      clock: deps.clock,
      log: deps.log,
      setUp: (channel) => this.#setUp(channel),
      lost: () => this.#lost(),
    });
    this.#channel.open();
  }

  /** Settles when it consumes; rejects when it cannot now. */
  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  setPrefetch(count: number): void {
    this.#prefetch = count;
    this.#isCut = false;
    void this.#aim();
    this.#askToHandOver();
  }

  async stop(): Promise<void> {
    this.#session?.settlement.flush();
    this.#cancelTimers();
    await this.#channel.close();
    // For what was handed over meanwhile.
    this.#cancelTimers();
    this.onStopped();
  }

  #cancelTimers(): void {
    for (const cancel of [...this.#timers.values(), ...this.#delays]) cancel();
    this.#timers.clear();
    this.#delays.clear();
  }

  /** Unacknowledged here: from the type's queue, and from the pinned one. */
  get unacknowledged(): { readonly shared: number; readonly pinned: number } {
    let shared = 0;
    let pinned = 0;
    for (const held of [...this.#handed, ...this.#waiting]) {
      if (held.state === "early") continue;
      if (held.intake === held.session.shared) shared += 1;
      else pinned += 1;
    }
    return { shared, pinned };
  }

  get hasRoom(): boolean {
    return this.#handed.size < this.#prefetch;
  }

  // ------------------------------------------------------------------------------------------ the channel's life

  async #setUp(channel: ConfirmChannel): Promise<void> {
    const { topology } = this.deps;
    const { routingPattern, pool, jobType } = this.options;
    await topology.declareExchanges(channel);
    const isNewShared = await topology.declareJobQueue(channel, routingPattern, null);
    const isNewPinned = await topology.declareJobQueue(channel, routingPattern, pool);
    const settlement = new Settlement(channel);
    const intakeOf = (queue: string): Intake => {
      const intake: Intake = new Intake(channel, queue, {
        delivered: (message) => this.#delivered(session, intake, message),
        cancelled: () => this.#channel.queueIsGone(`the broker cancelled the consumer of ${queue}`),
        failed: (error) => this.#channel.restart(messageOf(error)),
      });
      return intake;
    };
    const session: Session = {
      settlement,
      shared: intakeOf(topology.queue(routingPattern, null)),
      pinned: intakeOf(topology.queue(routingPattern, pool)),
    };
    this.#session = session;
    this.#isCut = false;
    await this.#aim();
    if (isNewShared || isNewPinned) this.deps.onNewQueue(jobType, pool);
  }

  #lost(): void {
    const session = this.#session;
    this.#session = null;
    session?.settlement.over();
    this.#waiting = [];
    for (const held of this.#handed) {
      if (held.state !== "handed") continue;
      // The broker gives it to somebody; whoever claims first runs it.
      held.state = "settled";
      this.#handed.delete(held);
    }
  }

  /** Tells the broker how much each queue may have out. */
  async #aim(): Promise<void> {
    const session = this.#session;
    if (session === null) return;
    const inHand = (intake: Intake) => {
      let count = 0;
      for (const held of this.#handed) if (held.state === "handed" && held.intake === intake) count += 1;
      return count;
    };
    const free = Math.max(0, this.#prefetch - this.#early);
    await Promise.all(
      [session.shared, session.pinned].map((intake) =>
        intake.aim(this.#isCut ? Math.min(free, inHand(intake)) : free)
      ),
    );
  }

  // ------------------------------------------------------------------------------------------------- deliveries

  #delivered(session: Session, intake: Intake, incoming: ConsumeMessage): void {
    const tag = incoming.fields.deliveryTag;
    session.settlement.delivered(tag);
    const decoded = this.deps.isOurs(incoming.properties.headers?.storeId)
      ? decodeJob(incoming.content)
      : { ok: false as const, reason: "it belongs to another store" };
    if (!decoded.ok) return this.#park(session, intake, incoming, decoded.reason);
    const held: Held = {
      message: decoded.value,
      tag,
      session,
      intake,
      arrivedAt: this.deps.clock.mono(),
      timesBack: Number(incoming.properties.headers?.["x-delivery-count"] ?? 0),
      state: "waiting",
    };
    if (held.message.jobType !== this.options.jobType) return this.#passOn(held, incoming);
    this.#take(held);
  }

  #take(held: Held): void {
    this.#waiting.push(held);
    this.#askToHandOver();
  }

  /** What arrives in one turn of the event loop is handed over together. */
  #askToHandOver(): void {
    if (this.#handOverAsked) return;
    this.#handOverAsked = true;
    setImmediate(() => {
      this.#handOverAsked = false;
      this.#handOver();
    });
  }

  #handOver(): void {
    const room = Math.max(0, this.#prefetch - this.#handed.size);
    const taken = this.#waiting.splice(0, room);
    if (taken.length > 0) {
      for (const held of taken) {
        held.state = "handed";
        this.#handed.add(held);
      }
      this.onDeliveries(taken.map((held) => this.#delivery(held)));
      this.#armEarly();
    }
    if (this.#waiting.length > 0) this.#arm("spare", SPARE_MS, () => this.#giveSpareBack());
  }

  #delivery(held: Held): Delivery {
    return {
      message: held.message,
      ack: () => this.#settle(held, () => held.session.settlement.ack(held.tag)),
      requeue: () => {
        if (held.state === "early") void this.deps.publishAgain(held.message);
        this.#settle(held, () => this.#giveBack(held));
      },
    };
  }

  /** In the next turn: a consumer that is paused in this one must not get back what it has just given back. */
  #giveBack(held: Held): void {
    this.#givenBack.push(held);
    if (this.#givenBack.length === 1) setImmediate(() => void this.#sendBack());
  }

  async #sendBack(): Promise<void> {
    const givenBack = this.#givenBack;
    this.#givenBack = [];
    await this.#aim();
    for (const held of givenBack) {
      const { settlement } = held.session;
      // The broker's limit of deliveries is for messages that break workers, not for a store that is away.
      if (held.timesBack < PUBLISH_ANEW_AFTER) settlement.requeue(held.tag);
      else {
        this.deps.publishAgain(held.message).then((isThere) =>
          isThere ? settlement.ack(held.tag) : settlement.requeue(held.tag)
        );
      }
    }
  }

  #settle(held: Held, tell: () => void): void {
    if (held.state === "settled") return;
    const wasEarly = held.state === "early";
    held.state = "settled";
    this.#handed.delete(held);
    if (wasEarly) this.#early -= 1;
    else {
      tell();
      held.intake.settled(held.tag);
    }
    if (wasEarly || this.#isCut) {
      this.#isCut = false;
      void this.#aim();
    }
    if (this.#waiting.length > 0) this.#askToHandOver();
  }

  /** No lane came free: the queues are cut to what is in hand, and what is beyond it goes to somebody else. */
  async #giveSpareBack(): Promise<void> {
    if (this.#waiting.length === 0) return;
    this.#isCut = true;
    await this.#aim();
    if (!this.#isCut) return this.#askToHandOver();
    for (const held of this.#waiting.splice(0)) {
      held.state = "settled";
      held.session.settlement.requeue(held.tag);
      held.intake.settled(held.tag);
    }
  }

  // ---------------------------------------------------------------------------------------------------- long runs

  #armEarly(): void {
    const oldest = this.#oldestUnacknowledged();
    if (oldest === undefined || this.#timers.has("early")) return;
    const dueIn = oldest.arrivedAt + this.options.ackEarlyAfterMs - this.deps.clock.mono();
    this.#arm("early", Math.max(0, dueIn), () => this.#acknowledgeEarly());
  }

  #oldestUnacknowledged(): Held | undefined {
    for (const held of this.#handed) if (held.state === "handed") return held;
    return undefined;
  }

  async #acknowledgeEarly(): Promise<void> {
    const before = this.deps.clock.mono() - this.options.ackEarlyAfterMs;
    const due = [...this.#handed].filter((held) => held.state === "handed" && held.arrivedAt <= before);
    for (const held of due) held.state = "early";
    this.#early += due.length;
    // First one less, then the acknowledgement: else the broker sends one more into the gap.
    await this.#aim();
    for (const held of due) {
      held.session.settlement.ack(held.tag);
      held.intake.settled(held.tag);
    }
    this.#armEarly();
  }

  // ------------------------------------------------------------------------------------------- what is not for us

  /** Two types may share a pattern, and so a queue: the message goes to whoever offers its type. */
  #passOn(held: Held, incoming: ConsumeMessage): void {
    const sibling = this.deps.sibling(held.message.jobType);
    if (sibling?.hasRoom === true) return sibling.#take(held);
    if (sibling === undefined && held.timesBack >= NOT_OFFERED_AT_MOST) {
      return this.#park(
        held.session,
        held.intake,
        incoming,
        `no worker of ${incoming.fields.routingKey} offers its type`,
      );
    }
    this.#later(NOT_OFFERED_MS, () => {
      held.session.settlement.requeue(held.tag);
      held.intake.settled(held.tag);
    });
  }

  #park(session: Session, intake: Intake, incoming: ConsumeMessage, reason: string): void {
    const tag = incoming.fields.deliveryTag;
    this.deps.parking.park(incoming, intake.queue, reason).then(
      () => {
        session.settlement.ack(tag);
        intake.settled(tag);
      },
      (error) => {
        this.deps.log.warn("Cannot park a message, giving it back: " + messageOf(error), {
          queue: intake.queue,
        });
        this.#later(NOT_OFFERED_MS, () => {
          session.settlement.requeue(tag);
          intake.settled(tag);
        });
      },
    );
  }

  #arm(name: "spare" | "early", ms: number, callback: () => void): void {
    if (this.#timers.has(name)) return;
    this.#timers.set(
      name,
      this.deps.clock.timer(ms, () => {
        this.#timers.delete(name);
        callback();
      }),
    );
  }

  #later(ms: number, callback: () => void): void {
    const cancel = this.deps.clock.timer(ms, () => {
      this.#delays.delete(cancel);
      callback();
    });
    this.#delays.add(cancel);
  }
}
