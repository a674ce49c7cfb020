/** Chooses the adapters. The only place that knows more than one technology. */
import type { Attempts } from "../actors/ports/attempts.ts";
import type { Clock, Random } from "../actors/ports/clock.ts";
import type { DueIndex } from "../actors/ports/due_index.ts";
import type { Events } from "../actors/ports/events.ts";
import type { Leases } from "../actors/ports/leases.ts";
import type { Log } from "../actors/ports/log.ts";
import type { Meter } from "../actors/ports/meter.ts";
import type { Presence } from "../actors/ports/presence.ts";
import type { Queue, ReportQueue } from "../actors/ports/queue.ts";
import type { Store } from "../actors/ports/store.ts";
import { EmbeddedDueIndex } from "./embedded/due_index.ts";
import { EmbeddedEvents } from "./embedded/events.ts";
import { EmbeddedLeases } from "./embedded/leases.ts";
import { EmbeddedPresence } from "./embedded/presence.ts";
import { EmbeddedQueue } from "./embedded/queue.ts";
import { EmbeddedReportQueue } from "./embedded/report_queue.ts";
import { openEmbeddedStore } from "./embedded/store.ts";

/** What every instance has. */
export interface WorkerAdapters {
  readonly attempts: Attempts;
  readonly queue: Queue;
  readonly reports: ReportQueue;
  readonly presence: Presence;
  readonly events: Events;
  /** Where the data lies, in words. */
  readonly description: string;
  /** True when no other process can be running anything of this store. */
  readonly soleProcess: boolean;
}

/** What an API instance has besides. */
export interface Adapters extends WorkerAdapters {
  readonly store: Store;
  readonly dueIndex: DueIndex;
  readonly leases: Leases;
}

export interface AdapterOptions {
  /** Folder of the embedded store. */
  readonly dataDir: string;
  /** Milliseconds between two announcements of a worker. */
  readonly heartbeatMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter?: Pick<Meter, "observe">;
}

/** Opens everything in process. Throws DataFolderError when the folder cannot be used. */
export async function openAdapters(options: AdapterOptions): Promise<Adapters> {
  const { clock, random, log } = options;
  const { store, attempts } = await openEmbeddedStore({
    folder: options.dataDir,
    clock,
    random,
    log,
    ...(options.meter === undefined ? {} : { meter: options.meter }),
  });
  return {
    store,
    attempts,
    queue: new EmbeddedQueue(),
    reports: new EmbeddedReportQueue(clock),
    dueIndex: new EmbeddedDueIndex(),
    leases: new EmbeddedLeases(clock),
    presence: new EmbeddedPresence(clock, 3 * options.heartbeatMs),
    events: new EmbeddedEvents(log),
    description: `embedded store in ${options.dataDir}`,
    soleProcess: true,
  };
}
