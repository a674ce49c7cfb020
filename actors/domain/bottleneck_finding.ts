/** A finding of the bottleneck advisor: symptom, the numbers that prove it, cause, change. */

export const BOTTLENECK_CODES = [
  "api-cpu",
  "api-event-loop",
  "machine-cpu",
  "redis-latency",
  "redis-zset",
  "redis-memory",
  "queue-growing",
  "lanes-full",
  "postgres-latency",
  "postgres-load",
  "slow-statement",
  "postgres-connections",
  "replica-lag",
  "store-sync",
  "worker-cpu",
  "worker-memory",
  "worker-event-loop",
  "payload-size",
] as const;
export type BottleneckCode = (typeof BOTTLENECK_CODES)[number];

export const SEVERITIES = ["warning", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** One number that proves a finding, and the limit that it is beyond, where it has one. */
export interface Proof {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly limit: number | null;
}

export interface Bottleneck {
  readonly code: BottleneckCode;
  readonly severity: Severity;
  /** What it is about: an instance, a server, a queue. */
  readonly place: string;
  /** A sentence, as the guide has it. */
  readonly symptom: string;
  readonly proof: readonly Proof[];
  readonly cause: string;
  /** What to change: sentences with the command, the key or the manifest; the first helps most. */
  readonly changes: readonly string[];
}

/** Null below the first limit. */
export function severityOf(value: number, limits: { readonly warning: number; readonly critical: number }) {
  if (value >= limits.critical) return "critical";
  return value >= limits.warning ? "warning" : null;
}

export function proof(name: string, value: number, unit: string, limit: number | null = null): Proof {
  return { name, value: rounded(value), unit, limit };
}

/** Three digits that matter. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

export function percent(share: number): string {
  return `${rounded(share * 100)} %`;
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024).toLocaleString("en")} MiB`;
}
