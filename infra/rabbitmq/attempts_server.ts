/**
 * The API's side of `attempts` over RabbitMQ: requests that arrived together become one claim and one renewal of
 * the store, and each gets its reply.
 */
import type { Buffer } from "node:buffer";
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import type { Attempts, ClaimRequest } from "../../actors/ports/attempts.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { RunningAttempt } from "../../actors/ports/presence.ts";
import { REQUEST_MS } from "./attempts.ts";
import type { Identity } from "./identity.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Link } from "./link.ts";
import type { Parking } from "./parking.ts";
import { Settlement } from "./settlement.ts";
import type { Topology } from "./topology.ts";
import { count, decode, encode, type Fields, id, list, Malformed, number } from "./wire.ts";

const PREFETCH = 100;
/** What could not be parked is kept so long before it goes back. */
const PARK_AGAIN_MS = 1000;
/** Replies kept for requests that are sent again after a lost connection: so many, and so many bytes. */
const REPLIES_KEPT = 2000;
const REPLY_BYTES_KEPT = 32 * 1024 * 1024;

export interface AttemptsServerDeps {
  readonly link: Link;
  readonly topology: Topology;
  readonly identity: Identity;
  readonly parking: Parking;
  readonly clock: Clock;
  readonly log: Log;
}

type Request =
  | { readonly kind: "hello"; readonly id: string }
  | {
    readonly kind: "claim";
    readonly id: string;
    readonly leaseMs: number;
    readonly claims: readonly ClaimRequest[];
  }
  | {
    readonly kind: "renew";
    readonly id: string;
    readonly leaseMs: number;
    readonly attempts: readonly RunningAttempt[];
  };

interface Asked<R extends Request = Request> {
  readonly request: R;
  readonly incoming: ConsumeMessage;
  readonly askedAt: number;
}

/** Serves the queue of requests and its standby. */
export class AttemptsServers {
  readonly #servers: readonly AttemptsServer[];

  constructor(deps: AttemptsServerDeps, attempts: Attempts) {
    const { topology } = deps;
    // A request may come again on the other queue.
    const replies = new Replies();
    this.#servers = [topology.attempts, topology.attemptsStandby].map((queue) =>
      new AttemptsServer({ ...deps, queue, replies }, attempts)
    );
  }

  /** Settles when one of them is served. */
  async whenUp(): Promise<void> {
    await Promise.any(this.#servers.map((server) => server.whenUp()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}

class AttemptsServer {
  readonly #channel: KeptChannel;
  #settlement: Settlement | null = null;
  #gathered: Asked[] = [];
  readonly #serving = new Set<Promise<void>>();
  readonly #delays = new Set<() => void>();

  constructor(
    private readonly deps: AttemptsServerDeps & {
      readonly queue: string;
      /** Replies to requests of late, by id. */
      readonly replies: Replies;
    },
    private readonly attempts: Attempts,
  ) {
    const { link, clock, log } = deps;
    this.#channel = new KeptChannel({
      link,
      act: "serve attempts",
      clock,
      log,
      setUp: (channel) => this.#setUp(channel),
      lost: () => {
        this.#settlement?.over();
        this.#gathered = [];
      },
    });
    this.#channel.open();
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  async stop(): Promise<void> {
    for (const cancel of this.#delays) cancel();
    await Promise.all(this.#serving);
    this.#settlement?.flush();
    await this.#channel.close();
  }

  async #setUp(channel: ConfirmChannel): Promise<void> {
    const { topology, queue } = this.deps;
    await topology.declareAttempts(channel, queue);
    const settlement = new Settlement(channel);
    this.#settlement = settlement;
    await channel.prefetch(PREFETCH);
    await channel.consume(queue, (message) => {
      if (message === null) return this.#channel.queueIsGone("the broker cancelled the consumer");
      settlement.delivered(message.fields.deliveryTag);
      this.#arrived(settlement, message);
    });
  }

  #arrived(settlement: Settlement, incoming: ConsumeMessage): void {
    const { identity, clock, parking, queue, log } = this.deps;
    const decoded = decode(incoming.content, readRequest);
    const { storeId } = incoming.properties.headers ?? {};
    if (decoded.ok && decoded.value.request.kind !== "hello" && !identity.isOurs(storeId)) {
      this.#reply(
        incoming,
        encode({ id: decoded.value.request.id, ok: false, error: "it belongs to another store" }),
      );
    } else if (!decoded.ok) {
      parking.park(incoming, queue, decoded.reason).then(
        () => settlement.ack(incoming.fields.deliveryTag),
        (error: Error) => {
          log.warn("Cannot park a request, giving it back: " + error.message);
          this.#later(() => settlement.requeue(incoming.fields.deliveryTag));
        },
      );
    } else if (clock.now() > decoded.value.askedAt + REQUEST_MS) {
      // Whoever asked waits no more: a claim that is granted now would be run by nobody.
      settlement.ack(incoming.fields.deliveryTag);
    } else {
      this.#gathered.push({ ...decoded.value, incoming });
      if (this.#gathered.length === 1) setImmediate(() => this.#serveGathered());
    }
  }

  #serveGathered(): void {
    const asked = this.#gathered;
    this.#gathered = [];
    const serving = this.#serve(asked).finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
  }

  async #serve(asked: readonly Asked[]): Promise<void> {
    const fresh = asked.filter((one) => !this.#replyAgain(one));
    for (const one of fresh) {
      if (one.request.kind === "hello") {
        this.#answer(one, { storeId: this.deps.identity.storeId, now: this.deps.clock.now() });
      }
    }
    const byLease = Map.groupBy(
      fresh.filter((one) => one.request.kind !== "hello"),
      ({ request }) => `${request.kind}/${request.kind === "hello" ? 0 : request.leaseMs}`,
    );
    await Promise.all([...byLease.values()].map((group) => this.#serveGroup(group)));
  }

  /** Requests of one kind and lease, as one call. */
  async #serveGroup(group: readonly Asked[]): Promise<void> {
    const claims: ClaimRequest[] = [];
    const renewals: RunningAttempt[] = [];
    let leaseMs = 0;
    for (const { request } of group) {
      if (request.kind === "hello") continue;
      leaseMs = request.leaseMs;
      if (request.kind === "claim") claims.push(...request.claims);
      else renewals.push(...request.attempts);
    }
    try {
      const answers: readonly unknown[] = claims.length > 0
        ? await this.attempts.claim(claims, leaseMs)
        : await this.attempts.renew(renewals, leaseMs);
      let from = 0;
      for (const one of group) {
        const size = sizeOf(one.request);
        this.#answer(one, { answers: answers.slice(from, from + size) });
        from += size;
      }
    } catch (error) {
      this.deps.log.warn("Cannot answer a worker's request: " + (error as Error).message);
      for (const one of group) {
        this.#reply(one.incoming, encode({ id: one.request.id, ok: false, error: (error as Error).message }));
      }
    }
  }

  #answer(one: Asked, fields: Fields): void {
    const reply = encode({ id: one.request.id, ok: true, ...fields });
    this.deps.replies.keep(one.request.id, reply);
    this.#reply(one.incoming, reply);
  }

  /** A request that was answered before gets the same answer. */
  #replyAgain(one: Asked): boolean {
    const reply = this.deps.replies.get(one.request.id);
    if (reply === undefined) return false;
    this.#reply(one.incoming, reply);
    return true;
  }

  #reply(incoming: ConsumeMessage, content: Buffer): void {
    const { replyTo, correlationId } = incoming.properties;
    try {
      this.#channel.channel?.publish("", String(replyTo), content, {
        correlationId,
        contentType: "application/json",
        headers: { storeId: this.deps.identity.storeId },
      });
    } catch {
      // The channel ended in this very turn: the worker asks again, or gives up.
    }
    this.#settlement?.ack(incoming.fields.deliveryTag);
  }

  #later(callback: () => void): void {
    const cancel = this.deps.clock.timer(PARK_AGAIN_MS, () => {
      this.#delays.delete(cancel);
      callback();
    });
    this.#delays.add(cancel);
  }
}

/** Replies of late, by the ids of their requests. */
class Replies {
  readonly #replies = new Map<string, Buffer>();
  #bytes = 0;

  get(requestId: string): Buffer | undefined {
    return this.#replies.get(requestId);
  }

  keep(requestId: string, reply: Buffer): void {
    this.#replies.set(requestId, reply);
    this.#bytes += reply.length;
    for (const [oldest, { length }] of this.#replies) {
      if (this.#replies.size <= REPLIES_KEPT && this.#bytes <= REPLY_BYTES_KEPT) break;
      this.#replies.delete(oldest);
      this.#bytes -= length;
    }
  }
}

function sizeOf(request: Request): number {
  return request.kind === "claim"
    ? request.claims.length
    : request.kind === "renew"
    ? request.attempts.length
    : 0;
}

function readRequest(fields: Fields): { readonly request: Request; readonly askedAt: number } {
  const requestId = id(fields, "id");
  const askedAt = number(fields, "askedAt");
  switch (fields.kind) {
    case "hello":
      // Whoever says hello has no cluster time yet: its own counts for nothing.
      return { askedAt: Infinity, request: { kind: "hello", id: requestId } };
    case "claim": {
      const claims = list(fields, "claims").map((one) => ({
        message: {
          ...readAttempt(one),
          ...(one.jobDataBytes === undefined ? {} : { jobDataBytes: count(one, "jobDataBytes") }),
        },
        workerId: id(one, "workerId"),
        instanceId: id(one, "instanceId"),
      }));
      return { askedAt, request: { kind: "claim", id: requestId, leaseMs: leaseOf(fields), claims } };
    }
    case "renew":
      return {
        askedAt,
        request: {
          kind: "renew",
          id: requestId,
          leaseMs: leaseOf(fields),
          attempts: list(fields, "attempts").map(readAttempt),
        },
      };
    default:
      throw new Malformed(`kind ${JSON.stringify(fields.kind)} is not known`);
  }
}

function readAttempt(one: Fields): RunningAttempt {
  return {
    occurrenceId: id(one, "occurrenceId"),
    scheduledFor: number(one, "scheduledFor"),
    token: count(one, "token"),
  };
}

/** A lease is 3 s or longer, and no longer than an hour. */
function leaseOf(fields: Fields): number {
  const leaseMs = number(fields, "leaseMs");
  if (leaseMs >= 3000 && leaseMs <= 3_600_000) return leaseMs;
  throw new Malformed("leaseMs is not between 3000 and 3600000");
}
