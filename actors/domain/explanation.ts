/** What explanations are made of: evidence, and how moments are written in sentences. */
import type { Job } from "./job.ts";
import { localTime, offsetText } from "./zone.ts";

/** What the id of a piece of evidence belongs to. */
export const EVIDENCE_KINDS = [
  "job",
  "occurrence",
  "due-time",
  "worker",
  "pool",
  "queue",
  "server",
  "epoch",
  "instance",
  "alert",
] as const;
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number];

/** Something that a sentence stands on, to be looked up. */
export interface Evidence {
  readonly kind: EvidenceKind;
  /** Its id or name; for a due time that of its job. */
  readonly id: string;
  /** Epoch milliseconds: the due time, or since when; null when no moment belongs to it. */
  readonly at: number | null;
}

export function evidence(kind: EvidenceKind, id: string, at: number | null = null): Evidence {
  return { kind, id, at };
}

/** `2026-03-29T03:00:00+02:00 (Europe/Berlin)`; UTC for a job without a zone. */
export function timeText({ schedule }: Pick<Job, "schedule">, at: number): string {
  return schedule.kind === "cron"
    ? `${localTime(schedule.timeZone, at)}${offsetText(schedule.timeZone, at)} (${schedule.timeZone})`
    : momentText(at);
}

/** A moment that has nothing to do with a schedule's zone. */
export function momentText(at: number): string {
  return new Date(at).toISOString();
}

/** `just now`, `7 s ago`, `3 min ago`, `5 h ago`, `4 days ago`: rounded down. */
export function agoText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} days ago`;
}

/** `1 attempt`, `3 attempts`. */
export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** `a`, `a and b`, `a, b and 3 more`. */
export function listText(names: readonly string[], shown = 3): string {
  const first = names.slice(0, shown);
  const rest = names.length - first.length;
  if (rest > 0) return `${first.join(", ")} and ${rest} more`;
  return first.length < 2 ? first.join() : `${first.slice(0, -1).join(", ")} and ${first.at(-1)}`;
}

/**
 * What was stored with a row, as a sentence of its own. Reasons are kept as clauses, for tables and logs; a name keeps
 * its first letter.
 */
export function asSentence(text: string): string {
  const told = text.trim();
  const begun = /^[a-z]+(?![A-Za-z0-9_])/.test(told) ? told.charAt(0).toUpperCase() + told.slice(1) : told;
  return /[.!?…]["')\]]*$/.test(begun) ? begun : `${begun}.`;
}

/** The same behind a sentence, or nothing. */
export function andSentence(text: string | null): string {
  return text === null || text.trim() === "" ? "" : ` ${asSentence(text)}`;
}

export function windowText(job: Pick<Job, "schedule" | "startAt" | "endAt">): string {
  const from = job.startAt === null ? "" : `from ${timeText(job, job.startAt)}`;
  const to = job.endAt === null ? "" : `until ${timeText(job, job.endAt)}`;
  return [from, to].filter((text) => text !== "").join(" ");
}
