/** What a process takes of its machine. */
import type { CpuUse } from "../domain/bottleneck_evidence.ts";

export interface ProcessLoad {
  /** Resident memory, its executor hosts included. */
  readonly rssBytes: number;
  /** What it may take; null when nobody says. */
  readonly memoryLimitBytes: number | null;
  /** 99 of 100 timers of the last minute were less late. Milliseconds. */
  readonly eventLoopDelayMs: number;
  /** Of the last ten seconds or so; null before there was one, and from workers that do not say. */
  readonly cpu: CpuUse | null;
}
