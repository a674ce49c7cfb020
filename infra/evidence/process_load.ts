/** What this process takes of its machine: memory, processors, and how late its event loop is. */
import type { ProcessLoad } from "../../actors/ports/process_load.ts";
import type { EventLoopProbe } from "./event_loop.ts";
import type { ProcessorGauge } from "./processors.ts";

export interface ProcessLoadOptions {
  readonly probe: EventLoopProbe;
  readonly processors: ProcessorGauge;
  /** Memory of executor hosts; without jobs there are none. */
  readonly hostsRssBytes: () => number;
  /** MiB; 0 is what the machine has. */
  readonly memoryLimitMb: number;
}

export function processLoad(
  { probe, processors, hostsRssBytes, memoryLimitMb }: ProcessLoadOptions,
): () => ProcessLoad {
  const memoryLimitBytes = memoryLimitMb > 0 ? memoryLimitMb * 1024 * 1024 : memoryOfMachine();
  return () => ({
    rssBytes: Deno.memoryUsage().rss + hostsRssBytes(),
    memoryLimitBytes,
    eventLoopDelayMs: Math.round(probe.p99Ms),
    cpu: processors.read(),
  });
}

/** Null where it may not be asked. */
function memoryOfMachine(): number | null {
  try {
    return Deno.systemMemoryInfo().total;
  } catch {
    return null;
  }
}
