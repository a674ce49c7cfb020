/**
 * A Redis Cluster: one connection to each master, and the map of slots that says which of them a key lies on.
 *
 * The rules of one connection hold for each (`connection.ts`): while a master is away, calls about its keys are
 * refused at once, and those about other keys go on. The map is read from any node that answers: at the start, each
 * few seconds, when a master was lost, and when a node says MOVED. A slot on its way to another master (ASK,
 * TRYAGAIN) is followed within the time of the call. When no master that was known answers, the replicas and the
 * nodes that were configured are asked.
 */
import type { ChainableCommander, Redis } from "ioredis";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Meter } from "../../actors/ports/meter.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import { describeRedis, type Endpoint, endpointOf, placeOfEndpoint, type RedisAddress } from "./address.ts";
import { RedisConnection, refusalOf } from "./connection.ts";
import { guideTo } from "./guide.ts";
import type { Answer, RedisLink } from "./link.ts";
import { SlotMap, slotOf } from "./slots.ts";

const REFRESH_MS = 5000;
/** While a master is away or the map is not known. */
const REFRESH_SOON_MS = 500;
const TRY_AGAIN_MS = 20;
const MOST_REDIRECTIONS = 8;

export interface ClusterOptions {
  readonly address: RedisAddress;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** Milliseconds until an unanswered command is given up, and until no redirection is followed any more. */
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "timer" | "mono">;
  readonly meter?: Pick<Meter, "observe"> | undefined;
}

/** Where a call goes on after a refusal. */
interface Redirection {
  readonly kind: "MOVED" | "ASK" | "TRYAGAIN";
  readonly to: Endpoint | null;
}

export class RedisCluster implements RedisLink {
  readonly #options: ClusterOptions;
  /** By place. */
  readonly #nodes = new Map<string, RedisConnection>();
  readonly #listeners = new Set<(isReady: boolean) => void>();
  /** Connections to nodes that are no masters any more. */
  readonly #closing = new Set<Promise<void>>();
  #map: SlotMap | null = null;
  #refreshing: Promise<void> | null = null;
  #refreshError: string | null = null;
  #cancelTick: () => void = () => {};
  /** Begins elsewhere in each process, so that not all listen on the same node. */
  #turn: number;
  #isClosed = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#turn = slotOf(options.name);
    for (const endpoint of options.address.endpoints) this.#nodeAt(endpoint);
    this.#tickLater();
  }

  get place(): string {
    return describeRedis(this.#options.address);
  }

  get isReady(): boolean {
    return this.#map !== null && this.#masters().some((node) => node.isReady);
  }

  get isWhole(): boolean {
    const masters = this.#masters();
    return this.#map !== null && masters.length > 0 && masters.every((node) => node.isReady);
  }

  get lastError(): string | null {
    if (this.isWhole) return null;
    const away = [...this.#nodes.values()].find((node) => !node.isReady && node.lastError !== null);
    return away === undefined ? this.#refreshError : `${away.place}: ${away.lastError}`;
  }

  /** The slots as last read; null until they are known. */
  get slots(): SlotMap | null {
    return this.#map;
  }

  onChange(listener: (isReady: boolean) => void): void {
    this.#listeners.add(listener);
  }

  /** A node that answers, another one at each call; for whoever connects by itself. */
  someEndpoint(): Endpoint {
    const { endpoints } = this.#options.address;
    const ready = [...this.#map?.masters ?? []].filter(([place]) => this.#nodes.get(place)?.isReady);
    const choice = ready.length > 0 ? ready.map(([, endpoint]) => endpoint) : endpoints;
    return choice[this.#turn++ % choice.length] ?? { host: "localhost", port: 6379 };
  }

  async ask<T>(act: string, key: string | null, command: (client: Redis) => Promise<T>): Promise<T> {
    return await this.#follow(act, key, (node, isAsking) => node.send(act, command, isAsking));
  }

  async askAll(
    act: string,
    key: string | null,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]> {
    return await this.#follow(
      act,
      key,
      (node, isAsking) => node.sendAll(act, fill, { isAtomic: false, isAsking }),
    );
  }

  async askAtOnce(
    act: string,
    key: string,
    fill: (commands: ChainableCommander) => void,
  ): Promise<readonly unknown[]> {
    return await this.#follow(
      act,
      key,
      (node, isAsking) => node.sendAll(act, fill, { isAtomic: true, isAsking }),
    );
  }

  async askEach<T>(
    act: string,
    command: (client: Redis) => Promise<T>,
    among: "all" | "connected" = "all",
  ): Promise<readonly Answer<T>[]> {
    const masters = this.#masters().filter((node) => among === "all" || node.isReady);
    if (masters.length === 0) throw this.#unknown(act);
    return await Promise.all(masters.map(async (node) => ({
      place: node.place,
      answer: await node.send(act, command, false),
    })));
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listeners.clear();
    this.#cancelTick();
    await Promise.all([...this.#nodes.values()].map((node) => node.close()));
    await Promise.all([this.#refreshing, ...this.#closing]);
  }

  /** Reads the map of slots from a node that answers. Never rejects; what was known stays. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#readMap().finally(() => this.#refreshing = null);
    return this.#refreshing;
  }

  // ------------------------------------------------------------------------------------------------ calls

  /** Sends a call to the master of its key, and after it where the cluster says, until its time is over. */
  async #follow<T>(
    act: string,
    key: string | null,
    send: (node: RedisConnection, isAsking: boolean) => Promise<T>,
  ): Promise<T> {
    const { clock, timeoutMs } = this.#options;
    const giveUpAt = clock.mono() + timeoutMs;
    const slot = key === null ? null : slotOf(key);
    let node = this.#nodeFor(act, slot);
    let isAsking = false;
    for (let redirections = 0;; redirections++) {
      try {
        return await send(node, isAsking);
      } catch (error) {
        const redirection = redirectionOf(error as Error);
        const isOver = redirections >= MOST_REDIRECTIONS && redirection?.kind !== "TRYAGAIN";
        if (redirection === null || isOver || clock.mono() >= giveUpAt) throw error;
        if (redirection.kind === "TRYAGAIN") {
          // Some of the keys have moved and some have not: over in a moment.
          await this.#pause(TRY_AGAIN_MS);
          if (!isAsking) node = this.#nodeFor(act, slot);
          continue;
        }
        isAsking = redirection.kind === "ASK";
        node = await this.#redirected(redirection, slot, giveUpAt) ?? node;
      }
    }
  }

  async #redirected({ kind, to }: Redirection, slot: number | null, giveUpAt: number) {
    if (to === null) return null;
    if (kind === "MOVED" && slot !== null) {
      this.#map?.move(slot, to);
      void this.refresh();
    }
    const node = this.#nodeAt(to);
    // A node that nobody knew is still being connected to.
    while (!node.isReady && !this.#isClosed && this.#options.clock.mono() < giveUpAt) {
      await this.#pause(TRY_AGAIN_MS);
    }
    return node;
  }

  #nodeFor(act: string, slot: number | null): RedisConnection {
    if (this.#map === null) throw this.#unknown(act);
    if (slot === null) {
      const masters = this.#masters();
      const ready = masters.filter((node) => node.isReady);
      const node = ready[this.#turn % Math.max(1, ready.length)] ?? masters[0];
      if (node === undefined) throw this.#unknown(act);
      return node;
    }
    const place = this.#map.masterOf(slot);
    const node = place === null ? undefined : this.#nodes.get(place);
    if (node === undefined) {
      throw new Unavailable(`${act}: no master serves slot ${slot} (Redis ${this.place})`);
    }
    return node;
  }

  #unknown(act: string): Unavailable {
    const reason = this.lastError === null ? "" : `, ${this.lastError}`;
    return new Unavailable(`${act}: not connected${reason} (Redis ${this.place})`);
  }

  // ------------------------------------------------------------------------------------------------ nodes

  #masters(): readonly RedisConnection[] {
    return [...this.#map?.masters.keys() ?? []].flatMap((place) => this.#nodes.get(place) ?? []);
  }

  #nodeAt(endpoint: Endpoint): RedisConnection {
    const place = placeOfEndpoint(endpoint);
    const known = this.#nodes.get(place);
    if (known !== undefined) return known;
    const node = new RedisConnection({ ...this.#options, guide: guideTo(() => endpoint) });
    this.#nodes.set(place, node);
    node.onChange((isReady) => {
      // A master that came back may have lost its slots meanwhile; one that went may have a successor.
      if (isReady || this.#map?.masters.has(place)) void this.refresh();
      // Until the map is known a node that answers changes nothing.
      if (!isReady || this.#map !== null) this.#tell();
    });
    return node;
  }

  async #readMap(): Promise<void> {
    const act = "Cannot read the slots of the Redis Cluster";
    // Another one first each time: a node that is cut off from the others believes in what was.
    const nodes = [...this.#nodes].filter(([, node]) => node.isReady);
    this.#turn += 1;
    for (let index = 0; index < nodes.length; index++) {
      const [place, node] = nodes[(index + this.#turn) % nodes.length] ?? [];
      const asked = endpointOf(place ?? "");
      if (node === undefined || asked === null) continue;
      try {
        const map = new SlotMap(await node.send(act, (client) => client.cluster("SLOTS"), false), asked);
        if (map.masters.size === 0) throw new Error(`${act}: none is served yet (Redis at ${place})`);
        if (this.#isClosed) return;
        this.#refreshError = null;
        this.#map = map;
        this.#connectTo(map);
        return;
      } catch (error) {
        this.#refreshError = (error as Error).message;
      }
    }
    // Nobody knows: whoever may know is asked.
    if (this.#isClosed) return;
    for (const endpoint of [...this.#options.address.endpoints, ...this.#map?.replicas.values() ?? []]) {
      this.#nodeAt(endpoint);
    }
  }

  /** Connects to new masters, and leaves nodes that are none, as long as a master answers. */
  #connectTo(map: SlotMap): void {
    for (const endpoint of map.masters.values()) this.#nodeAt(endpoint);
    if (!this.isReady) return this.#tell();
    for (const [place, node] of this.#nodes) {
      if (map.masters.has(place)) continue;
      this.#nodes.delete(place);
      const closing = node.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    this.#tell();
  }

  #tickLater(): void {
    this.#cancelTick = this.#options.clock.timer(this.isWhole ? REFRESH_MS : REFRESH_SOON_MS, () => {
      void this.refresh();
      this.#tickLater();
    });
  }

  #tell(): void {
    const { isReady } = this;
    for (const listener of this.#listeners) listener(isReady);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.timer(ms, resolve));
  }
}

/** What a refusal says about where the key is; null when it says nothing of that. */
function redirectionOf({ cause }: Error): Redirection | null {
  if (!(cause instanceof Error)) return null;
  const [kind, , to = ""] = refusalOf(cause).split(" ");
  if (kind === "TRYAGAIN") return { kind, to: null };
  if (kind !== "MOVED" && kind !== "ASK") return null;
  return { kind, to: endpointOf(to) };
}
