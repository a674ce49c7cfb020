/**
 * The port `Attempts` for workers without a database: claims and renewals as requests to whichever API instance
 * takes them from the queue, answered to the broker's direct reply-to address.
 *
 * A request lives 5 s. After that the broker drops it and no instance answers it, so a claim is never granted to a
 * worker that has stopped waiting. An answer that is lost is safe: the run was granted to nobody who runs it, and
 * its lease ends.
 *
 * The queue of requests is a classic one and goes with its node. A request that is not answered within a second is
 * followed by a question without effect; when that comes back, the queue is gone, all that waits is sent to the
 * standby. A channel that confirms nothing, or on which even such a question stays without an answer, is made anew: one
 * that sent to a quorum queue while its nodes chose a new leader may stay deaf.
 */
import type { ConfirmChannel } from "amqplib";
import type { ClaimAnswer, RenewAnswer } from "../../actors/domain/message.ts";
import type { Attempts, ClaimRequest } from "../../actors/ports/attempts.ts";
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { Log } from "../../actors/ports/log.ts";
import type { RunningAttempt } from "../../actors/ports/presence.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { within } from "./deadline.ts";
import type { Identity } from "./identity.ts";
import { KeptChannel } from "./kept_channel.ts";
import type { Link } from "./link.ts";
import { StandbyChoice, type Topology } from "./topology.ts";
import { decode, encode, type Fields, id, isFields, list, Malformed, number, text } from "./wire.ts";

export const REQUEST_MS = 5000;
/** Without an answer for so long it is asked whether the queue is still there. */
const PROBE_MS = 1000;
/** A channel that does not confirm a request for so long is made anew. */
const CONFIRM_MS = 2000;
/** Between two channels given up because nobody answers: the first time, and at most. */
const DEAF_MS = 4000;
const DEAF_AT_MOST_MS = 60_000;
const REPLY_TO = "amq.rabbitmq.reply-to";
/** Requests of a kind under way at once; what comes meanwhile gathers into the next. */
const UNDER_WAY = 2;
const ITEMS_A_REQUEST = 1000;
/** Job data that one answer brings; a single claim may bring more. Far below the largest message that is read. */
const BYTES_AN_ANSWER = 4 * 1024 * 1024;

export interface AttemptsClientDeps {
  readonly link: Link;
  readonly topology: Topology;
  readonly identity: Identity;
  readonly instanceId: string;
  readonly clock: Clock;
  readonly random: Pick<Random, "uuid">;
  readonly log: Log;
}

/** What an API instance says to a worker that knows nothing yet. */
export interface Hello {
  readonly storeId: string;
  /** Wall time of the cluster, epoch milliseconds. */
  readonly now: number;
}

interface Waiting {
  readonly content: Fields;
  readonly resolve: (reply: Fields) => void;
  readonly reject: (error: Error) => void;
}

/** Calls of one kind that gather while others are under way. */
interface Call {
  readonly leaseMs: number;
  readonly items: readonly Fields[];
  readonly resolve: (answers: readonly Fields[]) => void;
  readonly reject: (error: Error) => void;
}

export class RabbitAttempts implements Attempts {
  readonly #channel: KeptChannel;
  readonly #queue: StandbyChoice;
  /** With no API instance there, no new channel helps: made anew less and less often. Monotonic, and milliseconds. */
  #deafUntil = 0;
  #deafMs = DEAF_MS;
  #probing: { readonly cancel: () => void } | null = null;
  readonly #waiting = new Map<string, Waiting>();
  readonly #claims: Gathering;
  readonly #renewals: Gathering;

  constructor(private readonly deps: AttemptsClientDeps) {
    this.#queue = new StandbyChoice(deps.topology.attempts, deps.topology.attemptsStandby);
    this.#channel = new KeptChannel({
      link: deps.link,
      act: "ask for attempts",
      clock: deps.clock,
      log: deps.log,
      setUp: (channel) => this.#setUp(channel),
      up: () => this.#sendAgain(),
    });
    this.#channel.open();
    this.#claims = new Gathering((leaseMs, items) => this.#request("claim", { leaseMs, claims: items }));
    this.#renewals = new Gathering((leaseMs, items) => this.#request("renew", { leaseMs, attempts: items }));
  }

  async claim(requests: readonly ClaimRequest[], leaseMs: number): Promise<readonly ClaimAnswer[]> {
    const light = requests.filter(({ message }) => message.jobDataBytes === undefined);
    if (light.length === requests.length) {
      return (await this.#claims.ask(requests.map(claimItem), leaseMs)).map(readClaimAnswer);
    }
    const heavy = requests.filter(({ message }) => message.jobDataBytes !== undefined);
    const parts = [
      this.#claims.ask(light.map(claimItem), leaseMs),
      ...byWeight(heavy).map(async (part) =>
        answersOf(await this.#request("claim", { leaseMs, claims: part.map(claimItem) }), part.length)
      ),
    ];
    const answers = (await Promise.all(parts)).flat().map(readClaimAnswer);
    const order = new Map([...light, ...heavy].map((request, index) => [request, answers[index]]));
    return requests.map((request) => order.get(request) ?? { ok: false, reason: "gone" });
  }

  async renew(attempts: readonly RunningAttempt[], leaseMs: number): Promise<readonly RenewAnswer[]> {
    const items = attempts.map(({ occurrenceId, scheduledFor, token }) => ({
      occurrenceId,
      scheduledFor,
      token,
    }));
    return (await this.#renewals.ask(items, leaseMs)).map(readRenewAnswer);
  }

  /** Whose cluster this is, and its time. From then on messages of other stores are refused. */
  async hello(): Promise<Hello> {
    const reply = await this.#request("hello", {});
    const hello = { storeId: id(reply, "storeId"), now: number(reply, "now") };
    this.deps.identity.storeId ??= hello.storeId;
    return hello;
  }

  whenUp(): Promise<void> {
    return this.#channel.whenUp();
  }

  async close(): Promise<void> {
    this.#endProbe();
    await this.#channel.close();
    for (const waiting of [...this.#waiting.values()]) {
      waiting.reject(new Unavailable("Cannot ask for attempts: closed"));
    }
  }

  async #setUp(channel: ConfirmChannel): Promise<void> {
    await this.#queue.declare((name) => this.deps.topology.declareAttempts(channel, name));
    // What waits is sent again on the next channel.
    channel.on("return", () => this.#channel.queueIsGone("the queue of requests is missing"));
    await channel.consume(REPLY_TO, (message) => {
      if (message === null) return this.#channel.queueIsGone("the broker cancelled the consumer");
      this.#answered();
      const waiting = this.#waiting.get(message.properties.correlationId);
      if (waiting === undefined) return; // too late: nobody waits any more
      const decoded = decode(message.content, (fields) => fields);
      if (!decoded.ok) waiting.reject(new Error("Cannot ask for attempts: " + decoded.reason));
      else if (decoded.value.ok === true) waiting.resolve(decoded.value);
      else waiting.reject(new Error("Cannot ask for attempts: " + String(decoded.value.error)));
    }, { noAck: true });
  }

  async #request(kind: "claim" | "renew" | "hello", fields: Fields): Promise<Fields> {
    const { clock, random, instanceId } = this.deps;
    const requestId = random.uuid();
    const content = { kind, id: requestId, instanceId, askedAt: clock.now(), ...fields };
    await within(clock, REQUEST_MS, "ask for attempts", this.#channel.whenUp());
    return await new Promise<Fields>((resolve, reject) => {
      const channel = this.#channel.up;
      const cancel = clock.timer(
        REQUEST_MS,
        () =>
          waiting.reject(
            new Unavailable(`Cannot ask for attempts: no API instance answered within ${REQUEST_MS} ms`),
          ),
      );
      const cancelProbe = clock.timer(PROBE_MS, () => this.#probe());
      const end = () => {
        cancel();
        cancelProbe();
        this.#waiting.delete(requestId);
      };
      const waiting: Waiting = {
        content,
        resolve: (reply) => {
          end();
          resolve(reply);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      this.#waiting.set(requestId, waiting);
      this.#send(channel, requestId, waiting);
    });
  }

  #send(channel: ConfirmChannel, requestId: string, waiting: Pick<Waiting, "content">): void {
    const { clock, identity, link } = this.deps;
    const left = Math.round(Number(waiting.content.askedAt) + REQUEST_MS - clock.now());
    if (left <= 0) return;
    const cancel = clock.timer(CONFIRM_MS, () => {
      if (this.#channel.channel !== channel || link.blockedReason !== null) return;
      this.#channel.restart(`requests are not confirmed within ${CONFIRM_MS} ms`);
    });
    try {
      channel.publish("", this.#queue.name, encode(waiting.content), {
        messageId: requestId,
        correlationId: requestId,
        replyTo: REPLY_TO,
        expiration: left,
        type: "attempts",
        contentType: "application/json",
        mandatory: true,
        headers: { storeId: identity.storeId },
      }, (error) => {
        cancel();
        if (error !== null && this.#channel.channel === channel) {
          this.#channel.restart("requests are refused");
        }
      });
    } catch (error) {
      cancel();
      throw error;
    }
  }

  /** A hello that only tells whether there is a way to an API instance and back. */
  #probe(): void {
    const { channel } = this.#channel;
    const { clock, random, instanceId, link } = this.deps;
    if (channel === null || this.#probing !== null) return;
    const content = { kind: "hello", id: random.uuid(), instanceId, askedAt: clock.now() };
    const cancel = clock.timer(PROBE_MS, () => {
      this.#probing = null;
      if (this.#channel.channel !== channel || link.blockedReason !== null) return;
      if (clock.mono() < this.#deafUntil) return;
      this.#deafUntil = clock.mono() + this.#deafMs;
      this.#deafMs = Math.min(this.#deafMs * 2, DEAF_AT_MOST_MS);
      this.#channel.restart("no API instance answers");
    });
    this.#probing = { cancel };
    this.#send(channel, content.id, { content });
  }

  #answered(): void {
    this.#endProbe();
    this.#deafUntil = 0;
    this.#deafMs = DEAF_MS;
  }

  #endProbe(): void {
    this.#probing?.cancel();
    this.#probing = null;
  }

  /** After a lost connection: the same id, so that the instance that answered already answers the same. */
  #sendAgain(): void {
    const { channel } = this.#channel;
    if (channel === null) return;
    for (const [requestId, waiting] of this.#waiting) this.#send(channel, requestId, waiting);
  }
}

class Gathering {
  #calls: Call[] = [];
  #underWay = 0;
  #isAsked = false;

  constructor(private readonly request: (leaseMs: number, items: readonly Fields[]) => Promise<Fields>) {}

  ask(items: readonly Fields[], leaseMs: number): Promise<readonly Fields[]> {
    if (items.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      this.#calls.push({ leaseMs, items, resolve, reject });
      this.#next();
    });
  }

  #next(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    setImmediate(() => {
      this.#isAsked = false;
      while (this.#underWay < UNDER_WAY && this.#calls.length > 0) void this.#send(this.#gather());
    });
  }

  /** Calls with one lease, up to the size of a request. */
  #gather(): readonly Call[] {
    const leaseMs = this.#calls[0]?.leaseMs;
    let items = 0;
    const fits = (call: Call, index: number) => {
      items += call.items.length;
      return call.leaseMs === leaseMs && (index === 0 || items <= ITEMS_A_REQUEST);
    };
    const end = this.#calls.findIndex((call, index) => !fits(call, index));
    return this.#calls.splice(0, end < 0 ? this.#calls.length : end);
  }

  async #send(calls: readonly Call[]): Promise<void> {
    this.#underWay += 1;
    const items = calls.flatMap((call) => call.items);
    try {
      const answers = answersOf(await this.request(calls[0]?.leaseMs ?? 0, items), items.length);
      let from = 0;
      for (const call of calls) call.resolve(answers.slice(from, from += call.items.length));
    } catch (error) {
      for (const call of calls) call.reject(error as Error);
    }
    this.#underWay -= 1;
    this.#next();
  }
}

function claimItem({ message, workerId, instanceId }: ClaimRequest): Fields {
  return {
    occurrenceId: message.occurrenceId,
    scheduledFor: message.scheduledFor,
    token: message.token,
    ...(message.jobDataBytes === undefined ? {} : { jobDataBytes: message.jobDataBytes }),
    workerId,
    instanceId,
  };
}

/** Requests whose answers bring job data, so many in one that its answer stays of a handy size. */
function byWeight(requests: readonly ClaimRequest[]): readonly (readonly ClaimRequest[])[] {
  const parts: ClaimRequest[][] = [];
  let bytes = Infinity;
  for (const request of requests) {
    const { jobDataBytes = 0 } = request.message;
    if (bytes + jobDataBytes > BYTES_AN_ANSWER) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(request);
    bytes += jobDataBytes;
  }
  return parts;
}

function answersOf(reply: Fields, count: number): readonly Fields[] {
  const answers = list(reply, "answers");
  if (answers.length !== count) throw new Malformed("the answers do not match the requests");
  return answers;
}

const REFUSALS = ["stale-token", "final", "not-ready", "cancelled", "gone"] as const;

function readClaimAnswer(answer: Fields): ClaimAnswer {
  if (answer.ok === true) {
    return {
      ok: true,
      token: number(answer, "token"),
      attempt: number(answer, "attempt"),
      ...(answer.jobData === undefined ? {} : { jobData: text(answer, "jobData") }),
    };
  }
  const reason = REFUSALS.find((one) => one === answer.reason);
  if (answer.ok === false && reason !== undefined) return { ok: false, reason };
  throw new Malformed("a claim's answer cannot be read");
}

function readRenewAnswer(answer: Fields): RenewAnswer {
  if (answer.ok === false) return { ok: false };
  const { cancel } = answer;
  if (answer.ok !== true || (cancel !== null && !isFields(cancel))) {
    throw new Malformed("a renewal's answer cannot be read");
  }
  if (cancel === null) return { ok: true, cancel: null };
  return {
    ok: true,
    cancel: {
      by: String(cancel.by),
      reason: String(cancel.reason),
      requestedAt: number(cancel, "requestedAt"),
    },
  };
}
