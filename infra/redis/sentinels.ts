/**
 * The sentinels, asked each second for the master that they agree on.
 *
 * All are asked. A sentinel that was cut off from the others still names the old master; the one with the newest
 * configuration (`config-epoch`) is believed. When another master is named, connections to the old one are left, also
 * where it can still be reached: what is written there is lost.
 */
import type { Redis } from "ioredis";
import type { Clock } from "../../actors/ports/clock.ts";
import { type Endpoint, endpointOf, placeOfEndpoint, type RedisAddress } from "./address.ts";
import { RedisConnection, type SentinelCredentials } from "./connection.ts";
import { type Guide, guideTo } from "./guide.ts";

const ASK_MS = 1000;
/** While no master is known. */
const ASK_SOON_MS = 100;
const ANSWER_MS = 1000;

export interface SentinelsOptions {
  readonly address: RedisAddress;
  readonly credentials: SentinelCredentials | undefined;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  readonly clock: Pick<Clock, "timer" | "mono">;
}

/** What a sentinel says about the master, in its own words; `ip` and `port` are where clients are to go. */
export type SentinelReport = Readonly<Record<string, string>>;

export class RedisSentinels implements Guide {
  readonly #sentinels: readonly RedisConnection[];
  readonly #masterName: string;
  readonly #clock: Pick<Clock, "timer" | "mono">;
  readonly #listeners = new Set<() => void>();
  #master: Endpoint | null = null;
  #refusal: string | null = null;
  #cancelTick: () => void = () => {};
  #isClosed = false;

  constructor({ address, credentials, name, clock }: SentinelsOptions) {
    this.#masterName = address.masterName ?? "";
    this.#clock = clock;
    const { user = null, password = null } = credentials ?? {};
    this.#sentinels = address.endpoints.map((endpoint) =>
      new RedisConnection({
        address: { ...address, mode: "single", endpoints: [endpoint], user, password, database: 0 },
        guide: guideTo(() => endpoint),
        name,
        timeoutMs: ANSWER_MS,
        clock,
      })
    );
    for (const sentinel of this.#sentinels) {
      sentinel.onChange((isReady) => isReady && this.#master === null && void this.#look());
    }
    this.#tickLater();
  }

  get lastError(): string | null {
    if (this.#master !== null) return null;
    const away = this.#sentinels.find((sentinel) => sentinel.lastError !== null);
    return this.#refusal ?? (away === undefined ? null : `sentinel ${away.place}: ${away.lastError}`);
  }

  endpoint(): Endpoint | null {
    return this.#master;
  }

  onMove(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** What each sentinel that answers says about the master, by its place. */
  async reports(): Promise<ReadonlyMap<string, SentinelReport>> {
    return await this.#askEach(async (client) => {
      // While it leads replicas to a new master, a sentinel's report has that one's epoch and the old one's address.
      const [report, place] = await Promise.all([
        client.call("SENTINEL", "MASTER", this.#masterName),
        client.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.#masterName),
      ]);
      const [ip, port] = Array.isArray(place) ? place.map(String) : [];
      return ip === undefined || port === undefined ? recordOf(report) : { ...recordOf(report), ip, port };
    });
  }

  /** Whether enough sentinels are there to agree on a failover, in the words of each. */
  async quorums(): Promise<ReadonlyMap<string, string>> {
    return await this.#askEach(async (client) => {
      try {
        return String(await client.call("SENTINEL", "CKQUORUM", this.#masterName));
      } catch (error) {
        return (error as Error).message;
      }
    });
  }

  /** The sentinels that are configured, and whether each answers. */
  get places(): readonly {
    readonly place: string;
    readonly isReady: boolean;
    readonly error: string | null;
  }[] {
    return this.#sentinels.map(({ place, isReady, lastError }) => ({ place, isReady, error: lastError }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#cancelTick();
    await Promise.all(this.#sentinels.map((sentinel) => sentinel.close()));
  }

  async #askEach<T>(ask: (client: Redis) => Promise<T>): Promise<ReadonlyMap<string, T>> {
    const answers = new Map<string, T>();
    await Promise.all(this.#sentinels.map(async (sentinel) => {
      if (!sentinel.isReady) return;
      try {
        answers.set(sentinel.place, await sentinel.ask("Cannot ask a sentinel", null, ask));
      } catch (error) {
        this.#refusal = (error as Error).message;
      }
    }));
    return answers;
  }

  async #look(): Promise<void> {
    const reports = [...(await this.reports()).values()];
    const epochOf = (report: SentinelReport) => Number(report["config-epoch"] ?? -1);
    const [newest] = reports.sort((a, b) => epochOf(b) - epochOf(a));
    if (newest === undefined || this.#isClosed) return;
    const { ip = "", port = "" } = newest;
    const master = endpointOf(ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);
    if (master === null) return;
    const isOther = this.#master === null || placeOfEndpoint(master) !== placeOfEndpoint(this.#master);
    this.#master = master;
    this.#refusal = null;
    if (isOther) { for (const listener of this.#listeners) listener(); }
  }

  #tickLater(): void {
    this.#cancelTick = this.#clock.timer(this.#master === null ? ASK_SOON_MS : ASK_MS, () => {
      void this.#look();
      this.#tickLater();
    });
  }
}

/** Names and values as they alternate in the answer. */
function recordOf(answer: unknown): SentinelReport {
  if (!Array.isArray(answer)) {
    return Object.fromEntries(Object.entries(answer as object).map(([k, v]) => [k, String(v)]));
  }
  const pairs: [string, string][] = [];
  for (let index = 0; index + 1 < answer.length; index += 2) {
    pairs.push([String(answer[index]), String(answer[index + 1])]);
  }
  return Object.fromEntries(pairs);
}
