/** Tells a connection where to go: to a node of a cluster, to any node, or to whom the sentinels name. */
import type { Endpoint } from "./address.ts";

export interface Guide {
  /** Asked before each attempt to connect. Null while nobody knows: then no attempt is made. */
  endpoint(): Endpoint | null;
  /** Why it is not known, or null. */
  readonly lastError: string | null;
  /** Tells that connections to anywhere else are to be left. */
  onMove(listener: () => void): void;
}

export function guideTo(endpoint: () => Endpoint): Guide {
  return { endpoint, lastError: null, onMove: () => {} };
}
