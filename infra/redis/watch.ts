/** Says when Redis is there, in part or whole, and when it is away. */
import type { Log } from "../../actors/ports/log.ts";
import type { RedisLink } from "./link.ts";

/** What is seen of a way to Redis. */
export type WatchedLink = Pick<RedisLink, "place" | "isReady" | "isWhole" | "lastError" | "onChange">;

/**
 * Logs each change between "all", "some" and "none". `connected` resolves when all are connected for the first time, or
 * some are and what is missing has failed.
 */
export function watch(
  links: readonly WatchedLink[],
  needed: readonly WatchedLink[],
  log: Log,
): { readonly connected: Promise<void>; readonly look: (isReady: boolean) => void } {
  const server = links[0]?.place;
  const { promise: connected, resolve } = Promise.withResolvers<void>();
  let was: "whole" | "part" | "away" | null = null;
  const look = (isReady: boolean) => {
    const isWhole = links.every((link) => link.isWhole);
    const reason = links.map((one) => one.lastError).find((error) => error !== null);
    if (isWhole && was !== "whole") {
      was = "whole";
      log.info("Redis is connected", { server });
      resolve();
    } else if (!isWhole && needed.every((link) => link.isReady)) {
      const isLoss = was === "whole" && needed.some((link) => !link.isWhole);
      if (isLoss) log.warn("A master of the Redis Cluster is away", { server, reason });
      if (isLoss || was === "away") was = "part";
      // Without a failure the others are on their way: whoever went on now would be refused their keys.
      if (reason !== undefined) resolve();
    } else if (!isReady && was !== "away" && needed.some((link) => !link.isReady)) {
      was = "away";
      log.warn("Redis is away, trying again", { server, reason });
    }
  };
  for (const link of links) link.onChange(look);
  return { connected, look };
}
