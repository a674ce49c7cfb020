/**
 * Alerts, kept where all instances see them. At most one of a kind is open, by the store's own rule; so of many watchdogs
 * that find the same, one raises it.
 */
import type { Alert, AlertKind } from "../domain/alert.ts";

/** How many that have ended are kept. */
export const ENDED_ALERTS_KEPT = 200;

export interface Alerts {
  /** True when none of its kind was open. Else the open one is given this sentence, evidence and `seenAt`. */
  raise(alert: Omit<Alert, "endedAt">): Promise<boolean>;
  /** Ends the open one of this kind and gives it; null when there is none. */
  end(kind: AlertKind, at: number): Promise<Alert | null>;
  /** Open ones first, then those that ended last. */
  list(limit: number): Promise<readonly Alert[]>;
}
