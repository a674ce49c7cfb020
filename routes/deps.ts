/** What the API is given. Everything it touches comes in here, so that it runs in a test as it runs in a cluster. */
import type { JobTypes } from "../actors/job_types.ts";
import type { EvidenceSource } from "../actors/ports/evidence.ts";
import type { MetricsPage } from "../actors/ports/meter.ts";
import type { ActorSnapshot } from "../actors/runtime/system.ts";
import type { ApiPorts } from "../actors/supervisor.ts";
import type { WatchdogFigures } from "../actors/watchdog.ts";
import type { GuardSettings } from "./guard.ts";

export interface ApiSettings extends GuardSettings {
  /** Unique for each start of the process. */
  readonly instanceId: string;
  readonly version: string;
  readonly port: number;
  readonly misfireThresholdMs: number;
  /** How long the lease of an attempt is. */
  readonly leaseMs: number;
  /** Bytes of UTF-8 of the longest payload. */
  readonly maxJobDataBytes: number;
  /** What keeps the data, in words, e.g. `embedded store in ./milvaion-data`. */
  readonly storeDescription: string;
}

export interface ApiDeps extends
  Pick<
    ApiPorts,
    "store" | "queue" | "dueIndex" | "events" | "presence" | "clock" | "random" | "log" | "meter"
  > {
  readonly jobTypes: JobTypes;
  readonly metrics: MetricsPage;
  /** What this instance has seen of late. */
  readonly evidence: EvidenceSource;
  readonly settings: ApiSettings;
  /** The servers this instance stands on; none in embedded mode. */
  readonly servers: () => readonly { readonly name: string; readonly isConnected: boolean }[];
  /** Whether this instance leads, and its epoch while it does. */
  readonly leadership: () => { readonly isLeader: boolean; readonly epoch: number | null };
  /** What this instance's watchdog found last; null before its first look. */
  readonly watchdog: () => WatchdogFigures | null;
  /** `Deno.upgradeWebSocket`. */
  readonly upgradeWebSocket: (
    request: Request,
    options: { readonly protocol?: string },
  ) => { readonly response: Response; readonly socket: WebSocket };
  /** The actors of this process, for figures. */
  readonly actors: { snapshot(): readonly ActorSnapshot[]; readonly deadLetters: number };
}
