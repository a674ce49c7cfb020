/** An alert: something that the watchdog found, open until it finds it gone. At most one of a kind is open. */
import type { Evidence } from "./explanation.ts";

/** What can be found. */
export const ALERT_KINDS = [
  /** Due times have come, and their jobs' rows say that nobody has decided them. */
  "overdue-due-times",
  /** By their schedule jobs were due, and the ledger holds neither a run nor a reason. */
  "missing-due-times",
  "no-leader",
  /** The due index is not whole under the present leader: due times wait for the slow poll. */
  "due-index-stale",
  /** The wall clock was set by more than a few seconds. */
  "clock-stepped",
] as const;
export type AlertKind = (typeof ALERT_KINDS)[number];

export const ALERT_SEVERITIES = ["critical", "warning"] as const;
export type AlertSeverity = (typeof ALERT_SEVERITIES)[number];

export const SEVERITY: Readonly<Record<AlertKind, AlertSeverity>> = {
  "overdue-due-times": "critical",
  "missing-due-times": "critical",
  "no-leader": "critical",
  "due-index-stale": "warning",
  "clock-stepped": "warning",
};

/** Moments are epoch milliseconds. */
export interface Alert {
  /** UUIDv7. */
  readonly id: string;
  readonly kind: AlertKind;
  readonly severity: AlertSeverity;
  readonly sentence: string;
  /** What it was found by; not all of it when there is much. */
  readonly evidence: readonly Evidence[];
  readonly raisedAt: number;
  /** The instance that was first to find it. */
  readonly raisedBy: string;
  /** When it was last found to be so. */
  readonly seenAt: number;
  readonly endedAt: number | null;
}
