/**
 * The broker of a simulated cluster: the embedded queue, shared by all processes, behind links that break. Messages
 * on their way to a worker may be late, so that others overtake them, come twice, or vanish.
 */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Delivery, PublishAnswer, Queue, QueueDepth, Subscription } from "../../actors/ports/queue.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { EmbeddedQueue } from "../../infra/embedded/queue.ts";
import type { Chance } from "./chance.ts";
import type { Gate } from "./gate.ts";
import type { MessageRates } from "./profile.ts";
import type { VirtualTime } from "./virtual_time.ts";
import type { Wire } from "./wire.ts";

type ConsumeOptions = Parameters<Queue["consume"]>[0];
type DrainListener = (jobType: string, why: "room" | "new") => void;

/** A connection that died is noticed within this time. */
const NOTICED_AT_MOST_MS = 10_000;
/** A process that answers no heartbeat for this long has its connection closed. */
export const HEARTBEAT_TIMEOUT_MS = 12_000;

export class JobBroker {
  base = new EmbeddedQueue();
  readonly consumers = new Set<Consumer>();
  readonly drainListeners = new Set<DrainListener>();

  constructor(
    readonly time: VirtualTime,
    readonly chance: Chance,
    readonly rates: MessageRates,
    readonly isCalm: () => boolean,
  ) {
    this.#hearDrains();
  }

  /** A new, empty one in its place: what waited in it is gone, its clients connect again. */
  replace(): void {
    for (const consumer of this.consumers) consumer.disconnect();
    this.base = new EmbeddedQueue();
    this.#hearDrains();
    const types = new Set([...this.consumers].map(({ options }) => options.jobType));
    for (const consumer of this.consumers) consumer.connect();
    for (const type of types) for (const listener of [...this.drainListeners]) listener(type, "new");
  }

  #hearDrains(): void {
    this.base.onDrained((jobType, why) => {
      for (const listener of [...this.drainListeners]) listener(jobType, why);
    });
  }

  /** Brings a message a second time, to any worker that takes its type. */
  repeat(message: JobMessage): void {
    const takers = [...this.consumers].filter(({ options }) =>
      options.jobType === message.jobType && (message.pool === null || message.pool === options.pool)
    );
    this.chance.oneOf(takers)?.bring({ message, ack: () => {}, requeue: () => {} });
  }
}

/** One consumer of one process, connected again whenever its link comes back. */
class Consumer {
  #base: Promise<Subscription> | null = null;
  #isEnded = false;

  constructor(
    private readonly broker: JobBroker,
    private readonly gate: Gate,
    readonly options: ConsumeOptions,
    private readonly onDeliveries: (deliveries: readonly Delivery[]) => void,
    private prefetch: number,
  ) {}

  connect(): void {
    if (this.#isEnded || this.#base !== null || this.gate.state === "dead") return;
    this.#base = this.broker.base.consume(
      { ...this.options, prefetch: this.prefetch },
      (deliveries) => this.#travel(deliveries),
    );
  }

  disconnect(): void {
    void this.#base?.then((subscription) => subscription.stop());
    this.#base = null;
  }

  setPrefetch(count: number): void {
    this.prefetch = count;
    void this.#base?.then((subscription) => subscription.setPrefetch(count));
  }

  end(): void {
    this.#isEnded = true;
    this.disconnect();
    this.broker.consumers.delete(this);
  }

  bring(delivery: Delivery): void {
    this.gate.pass(() => {
      if (!this.#isEnded) this.onDeliveries([delivery]);
    });
  }

  #travel(deliveries: readonly Delivery[]): void {
    const { chance, rates, time, isCalm } = this.broker;
    const atOnce: Delivery[] = [];
    for (const delivery of deliveries) {
      if (isCalm()) {
        atOnce.push(delivery);
        continue;
      }
      if (chance.happens(rates.duplicated)) {
        time.timer(chance.wait(rates.delayMs * 3), () => this.broker.repeat(delivery.message));
      }
      if (chance.happens(rates.delayed)) time.timer(chance.wait(rates.delayMs), () => this.bring(delivery));
      else atOnce.push(delivery);
    }
    if (atOnce.length === 0) return;
    this.gate.pass(() => {
      if (!this.#isEnded) this.onDeliveries(atOnce);
    });
  }
}

/** The broker as one process sees it. */
export class WiredQueue implements Queue {
  readonly #consumers = new Set<Consumer>();
  readonly #ends: (() => void)[] = [];
  #isAsleep = false;

  constructor(private readonly broker: JobBroker, private readonly wire: Wire, private readonly gate: Gate) {
    this.#ends.push(wire.onLink((server) => {
      if (server === "broker") this.#follow();
    }));
  }

  canPublish(): boolean {
    return this.wire.isUp("broker");
  }

  publish(messages: readonly JobMessage[]): Promise<readonly PublishAnswer[]> {
    const { chance, rates, isCalm } = this.broker;
    return this.wire.call("broker", "publish", async () => {
      const isLost = messages.map(() => !isCalm() && chance.happens(rates.lost));
      const answers = await this.broker.base.publish(messages.filter((_, index) => !isLost[index]));
      let next = 0;
      return isLost.map((lost) => lost ? "accepted" : answers[next++] ?? "accepted");
    });
  }

  consume(
    options: ConsumeOptions,
    onDeliveries: (deliveries: readonly Delivery[]) => void,
  ): Promise<Subscription> {
    if (!this.wire.isUp("broker")) {
      return this.wire.call("broker", "consume", () => Promise.reject(new Unavailable("simulated: consume")));
    }
    const consumer = new Consumer(this.broker, this.gate, options, onDeliveries, options.prefetch);
    this.#consumers.add(consumer);
    this.broker.consumers.add(consumer);
    consumer.connect();
    return Promise.resolve({
      setPrefetch: (count: number) => consumer.setPrefetch(count),
      stop: () => {
        consumer.end();
        this.#consumers.delete(consumer);
        return Promise.resolve();
      },
    });
  }

  depth(): Promise<readonly QueueDepth[]> {
    return this.wire.call("broker", "depth", () => this.broker.base.depth());
  }

  onDrained(listener: DrainListener): () => void {
    const own: DrainListener = (jobType, why) => {
      if (this.wire.isUp("broker")) this.gate.pass(() => listener(jobType, why));
    };
    this.broker.drainListeners.add(own);
    const end = () => void this.broker.drainListeners.delete(own);
    this.#ends.push(end);
    return end;
  }

  /** Its process answers no heartbeats: the broker closes the connection. */
  fallAsleep(): void {
    this.#isAsleep = true;
    this.#follow();
  }

  wake(): void {
    this.#isAsleep = false;
    this.#follow();
  }

  /** Its process is dead. What it held goes back when the broker notices. */
  die(): void {
    for (const end of this.#ends) end();
    this.broker.time.timer(this.broker.chance.between(0, NOTICED_AT_MOST_MS), () => {
      for (const consumer of this.#consumers) consumer.end();
    });
  }

  #follow(): void {
    const isConnected = this.wire.isUp("broker") && !this.#isAsleep;
    for (const consumer of this.#consumers) {
      if (isConnected) consumer.connect();
      else consumer.disconnect();
    }
  }
}
