/** What this instance has seen of the running installation, for the bottleneck advisor. */
import type { Evidence } from "../domain/bottleneck_evidence.ts";

export interface EvidenceSource {
  /** Over the last minute, or since the start. Never rejects: what cannot be asked is null in the answer. */
  read(): Promise<Evidence>;
}
