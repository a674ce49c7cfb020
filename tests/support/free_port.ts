/** Ports for servers that a test starts, and starts again after they were down. */

/**
 * Below what systems give to outgoing connections (Linux: from 32,768), one of which would be in a server's way; by so
 * much that the second port of a Redis Cluster's node, which is 10,000 higher, is below as well.
 */
const LOWEST = 10_000;
const HIGHEST = 22_000;

/** A server that is down, or not yet up, finds its port free. */
const given = new Set<number>();

/** A port that was free a moment ago. None is given twice. */
export function freePort(): number {
  while (true) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (given.has(port) || !isFree(port)) continue;
    given.add(port);
    return port;
  }
}

/** Whether nobody listens on it, or is connected from it, now. */
export function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}
