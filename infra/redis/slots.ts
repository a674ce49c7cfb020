/** The slots of a Redis Cluster: which one a key lies in, and which master serves it. */
import { type Endpoint, placeOfEndpoint } from "./address.ts";

export const SLOTS = 16_384;

/** CRC16 of the hash tag, or of the whole key where it has none. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of new TextEncoder().encode(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
    crc &= 0xffff;
  }
  return crc % SLOTS;
}

export class SlotMap {
  /** By slot: the place of its master. */
  readonly #masters: (string | undefined)[] = new Array(SLOTS);
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #replicas = new Map<string, Endpoint>();

  /** `answer` is what CLUSTER SLOTS says; a node that does not know its own address has that of who was `asked`. */
  constructor(answer: unknown, asked: Endpoint) {
    for (const [first, last, ...nodes] of answer as (readonly [number, number, ...unknown[]])[]) {
      nodes.forEach((node, index) => {
        const [host, port] = node as readonly [string | null, number];
        const endpoint = { host: host === null || host === "" || host === "?" ? asked.host : host, port };
        const place = placeOfEndpoint(endpoint);
        (index === 0 ? this.#endpoints : this.#replicas).set(place, endpoint);
        if (index === 0) this.#masters.fill(place, first, last + 1);
      });
    }
  }

  /** The place of the master that serves a slot, or null when none does. */
  masterOf(slot: number): string | null {
    return this.#masters[slot] ?? null;
  }

  /** A slot has moved. */
  move(slot: number, to: Endpoint): void {
    const place = placeOfEndpoint(to);
    this.#endpoints.set(place, to);
    this.#masters[slot] = place;
  }

  /** By place. */
  get masters(): ReadonlyMap<string, Endpoint> {
    return this.#endpoints;
  }

  get replicas(): ReadonlyMap<string, Endpoint> {
    return this.#replicas;
  }

  /** How many slots each master serves. */
  get counts(): ReadonlyMap<string, number> {
    const counts = new Map([...this.#endpoints.keys()].map((place) => [place, 0]));
    for (const place of this.#masters) {
      if (place !== undefined) counts.set(place, (counts.get(place) ?? 0) + 1);
    }
    return counts;
  }
}
