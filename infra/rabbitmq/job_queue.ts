/** The port `Queue` over RabbitMQ. */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { Delivery, PublishAnswer, Queue, QueueDepth, Subscription } from "../../actors/ports/queue.ts";
import { Bindings } from "./bindings.ts";
import { announceQueue, ControlEar } from "./control.ts";
import { messageOf } from "./deadline.ts";
import { Depths } from "./depths.ts";
import type { Identity } from "./identity.ts";
import type { Link } from "./link.ts";
import type { Parking } from "./parking.ts";
import type { Outgoing, Publisher } from "./publisher.ts";
import { TypeSubscription } from "./subscription.ts";
import type { Topology } from "./topology.ts";
import { encodeJob } from "./wire.ts";

export interface KnownType {
  readonly jobType: string;
  readonly routingPattern: string;
  /** Pools that have a queue of their own for the type. */
  readonly pools: readonly string[];
}

export interface JobQueueDeps {
  readonly publishLink: Link;
  readonly consumeLink: Link;
  /** Confirms, and declares the exchanges. */
  readonly publisher: Publisher;
  readonly parking: Parking;
  readonly topology: Topology;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Log;
  readonly patternOf: (jobType: string) => string;
  readonly knownTypes: () => readonly KnownType[];
  readonly traceparent: (message: JobMessage) => string | null;
  /** Job data of more bytes stays in the store, and the claim brings it. */
  readonly inlineBytes: number;
  readonly ackEarlyAfterMs: number;
  /** API instances hear of new queues. */
  readonly listensToWorkers: boolean;
  /** How often they test whether they hear. Milliseconds. */
  readonly testEarEachMs: number;
}

type DrainListener = (jobType: string, why: "room" | "new") => void;

export class RabbitQueue implements Queue {
  readonly #subscriptions = new Set<TypeSubscription>();
  readonly #drainListeners = new Set<DrainListener>();
  /** Types that were answered `full` since there was room last. */
  readonly #turnedAway = new Set<string>();
  readonly #depths: Depths;
  readonly #bindings: Bindings;
  readonly #ear: ControlEar | null;
  /** Types whose queue may have lost messages, and was not seen empty since. */
  readonly #doubtful = new Set<string>();
  #cancelLook: () => void = () => {};
  #isClosed = false;

  constructor(private readonly deps: JobQueueDeps) {
    this.#depths = new Depths(deps.consumeLink, deps.clock);
    this.#bindings = new Bindings({
      ...deps,
      link: deps.publishLink,
      onNewQueue: (jobType, pool) => this.#announce(jobType, pool),
    });
    this.#ear = !deps.listensToWorkers ? null : new ControlEar({
      ...deps,
      link: deps.consumeLink,
      onQueueReady: ({ jobType }) => this.#drained(jobType, "new"),
      onListensAgain: () => this.#listensAgain(),
      testEachMs: deps.testEarEachMs,
    });
  }

  async publish(messages: readonly JobMessage[]): Promise<readonly PublishAnswer[]> {
    const answers = [...await this.#send(messages)];
    await this.#sendReturned(messages, answers);
    answers.forEach((answer, index) => {
      const jobType = messages[index]?.jobType;
      if (answer === "full" && jobType !== undefined) this.#turnedAway.add(jobType);
    });
    // There was room again before all of it was answered, and nobody was there to be told.
    if (this.deps.publisher.hasRoom) this.room();
    return answers;
  }

  async consume(
    options: {
      readonly jobType: string;
      readonly routingPattern: string;
      readonly pool: string;
      readonly prefetch: number;
    },
    onDeliveries: (deliveries: readonly Delivery[]) => void,
  ): Promise<Subscription> {
    const { deps } = this;
    const subscription: TypeSubscription = new TypeSubscription(
      {
        ...deps,
        link: deps.consumeLink,
        isOurs: deps.identity.isOurs,
        sibling: (jobType) => [...this.#subscriptions].find((one) => one.options.jobType === jobType),
        onNewQueue: (jobType, pool) => this.#announce(jobType, pool),
        publishAgain: (message) => this.#publishAgain(message),
      },
      { ...options, ackEarlyAfterMs: deps.ackEarlyAfterMs },
      onDeliveries,
      () => this.#subscriptions.delete(subscription),
    );
    try {
      await subscription.whenUp();
    } catch (error) {
      await subscription.stop();
      throw error;
    }
    this.#subscriptions.add(subscription);
    return subscription;
  }

  /** Of the types that are known. `unacknowledged` counts those of this process: AMQP does not tell others'. */
  async depth(): Promise<readonly QueueDepth[]> {
    const queues = this.deps.knownTypes().flatMap(({ jobType, routingPattern, pools }) =>
      [null, ...pools].map((pool) => ({
        jobType,
        pool,
        name: this.deps.topology.queue(routingPattern, pool),
        unacknowledged: this.#unacknowledged(jobType, pool),
      }))
    );
    const counts = await this.#depths.count(queues.map((queue) => queue.name));
    return queues.flatMap(({ jobType, pool, unacknowledged }, index) => {
      const count = counts[index];
      if (count === null || count === undefined) return [];
      return [{ jobType, pool, ready: count.messages, unacknowledged, consumers: count.consumers }];
    });
  }

  onDrained(listener: DrainListener): () => void {
    this.#drainListeners.add(listener);
    return () => this.#drainListeners.delete(listener);
  }

  /** Called by the publisher. */
  room(): void {
    const jobTypes = [...this.#turnedAway];
    this.#turnedAway.clear();
    for (const jobType of jobTypes) this.#drained(jobType, "room");
  }

  /** Messages in the parking queue, null when it is missing. */
  async parked(): Promise<number | null> {
    const [count] = await this.#depths.count([this.deps.topology.parked]);
    return count?.messages ?? null;
  }

  whenUp(): Promise<void> {
    return this.#ear?.whenUp() ?? Promise.resolve();
  }

  canPublish(): boolean {
    return this.deps.publisher.isUp;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook();
    await Promise.all([...this.#subscriptions].map((one) => one.stop()));
    await this.#ear?.close();
    await this.#depths.close();
  }

  #send(messages: readonly JobMessage[]): Promise<readonly PublishAnswer[]> {
    return this.deps.publisher.publish(messages.map((message) => this.#outgoing(message)));
  }

  /** What came back although workers offer its type goes once more, when the type's queue could be bound anew. */
  async #sendReturned(messages: readonly JobMessage[], answers: PublishAnswer[]): Promise<void> {
    if (!answers.includes("unroutable")) return;
    const returned = messages.filter((_, index) => answers[index] === "unroutable");
    const offered = this.deps.knownTypes().filter(({ jobType, pools }) =>
      returned.some((one) =>
        one.jobType === jobType && (one.pool === null ? pools.length > 0 : pools.includes(one.pool))
      )
    );
    const bound = await this.#bindings.repair(offered);
    const again = messages.flatMap((message, index) =>
      answers[index] === "unroutable" && bound.has(message.jobType) ? [index] : []
    );
    const better = await this.#send(again.flatMap((index) => messages[index] ?? []));
    again.forEach((index, place) => answers[index] = better[place] ?? "unroutable");
  }

  #outgoing(message: JobMessage): Outgoing {
    const { topology, identity, clock, patternOf, traceparent, inlineBytes } = this.deps;
    const trace = traceparent(message);
    return {
      exchange: topology.jobs,
      key: topology.routingKey(patternOf(message.jobType), message.pool, message.occurrenceId),
      content: encodeJob(message, inlineBytes),
      properties: {
        messageId: `${message.occurrenceId}/${message.token}`,
        correlationId: message.occurrenceId,
        timestamp: Math.floor(clock.now() / 1000),
        type: "job",
        contentType: "application/json",
        persistent: true,
        mandatory: true,
        headers: trace === null
          ? { storeId: identity.storeId }
          : { storeId: identity.storeId, traceparent: trace },
      },
    };
  }

  async #publishAgain(message: JobMessage): Promise<boolean> {
    try {
      const [answer] = await this.publish([message]);
      return answer === "accepted";
    } catch (error) {
      this.deps.log.warn("Cannot give a message back, recovery will: " + messageOf(error), {
        occurrenceId: message.occurrenceId,
      });
      return false;
    }
  }

  #unacknowledged(jobType: string, pool: string | null): number {
    let count = 0;
    for (const one of this.#subscriptions) {
      if (one.options.jobType !== jobType) continue;
      if (pool === null) count += one.unacknowledged.shared;
      else if (pool === one.options.pool) count += one.unacknowledged.pinned;
    }
    return count;
  }

  #announce(jobType: string, pool: string): void {
    const { deps } = this;
    announceQueue({ ...deps, storeId: () => deps.identity.storeId }, { jobType, pool });
  }

  /** What was said meanwhile is lost, and each queue may have lost what it held. */
  #listensAgain(): void {
    for (const { jobType } of this.deps.knownTypes()) this.#doubtful.add(jobType);
    void this.#look();
  }

  /** The rows of a queue that is empty are published anew; one that holds something is looked at again. */
  async #look(): Promise<void> {
    const { clock, log, knownTypes, topology, testEarEachMs, consumeLink } = this.deps;
    this.#cancelLook();
    // The ear comes back with the connection, and asks for this again.
    if (consumeLink.model === null) return;
    const doubtful = knownTypes().filter(({ jobType }) => this.#doubtful.has(jobType));
    try {
      const counts = await this.#depths.count(
        doubtful.map(({ routingPattern }) => topology.queue(routingPattern, null)),
      );
      doubtful.forEach(({ jobType }, index) => {
        if ((counts[index]?.messages ?? 0) > 0) return;
        this.#doubtful.delete(jobType);
        this.#drained(jobType, "new");
      });
    } catch (error) {
      log.warn("Cannot look for lost queues, trying again: " + messageOf(error));
    }
    if (this.#doubtful.size === 0 || this.#isClosed) return;
    this.#cancelLook();
    this.#cancelLook = clock.timer(testEarEachMs, () => void this.#look());
  }

  #drained(jobType: string, why: "room" | "new"): void {
    for (const listener of [...this.#drainListeners]) listener(jobType, why);
  }
}
