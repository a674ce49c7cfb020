/**
 * A job that keeps failing is disabled by itself, and enabled again by a single run that works.
 *
 *   enabled ── the last N final failures lie within the window ──► disabled ──► cool-down ──► probe is due
 *      ▲                                                              ▲                           │
 *      │                                                              └─ next cool-down ◄─ fails ─┤ one run at a time
 *      └── a person, at any time ─────────────────────────────────────────────────── completes ◄──┘
 *
 * Failed, TimedOut and suspect (lost too often) count, once for each occurrence, in the transaction that ends it;
 * Cancelled does not, and a Completed run ends the streak. While it is disabled the schedule goes on being decided: due
 * times are recorded with the reason `auto-disabled`. From `probeAt` on exactly one due time, the latest that has come,
 * becomes a run; so does a trigger at any time, for whoever triggers wants to know. While that probe is on there is no
 * other. What was queued before, and what is triggered by force, runs as ever and says nothing about the job.
 *
 * Enabling does not fire the past: due times before `until` that nobody has decided by then are recorded like the others.
 * The state is kept until they are.
 */
import type { AutoDisabled, AutoDisableSettings } from "./job.ts";
import type { OccurrenceStatus } from "./occurrence.ts";
import type { AutoDisableRule } from "./retry.ts";

/** The rule where neither server nor job gives numbers. */
export const DEFAULT_AUTO_DISABLE: AutoDisableRule = {
  failures: 5,
  windowSeconds: 3600,
  cooldownSeconds: 1800,
};

/** A probe that fails doubles the cool-down, up to this: a day. A longer one by the rule stays as it is. */
export const COOLDOWN_AT_MOST_SECONDS = 86_400;

const REASON_AT_MOST = 500;

/** A job's own word over the server's rule; null: it is never disabled by itself. */
export function agreeAutoDisable(
  job: AutoDisableSettings | null,
  server: AutoDisableRule | null,
): AutoDisableRule | null {
  const base = server ?? { ...DEFAULT_AUTO_DISABLE, isEnabled: false };
  if (!(job?.isEnabled ?? base.isEnabled ?? true)) return null;
  const windowMinutes = job?.windowMinutes ?? null;
  const cooldown = job?.cooldownMinutes ?? null;
  return {
    failures: job?.failures ?? base.failures,
    windowSeconds: windowMinutes === null ? base.windowSeconds : windowMinutes * 60,
    cooldownSeconds: cooldown === null ? base.cooldownSeconds : cooldown === 0 ? null : cooldown * 60,
  };
}

/** What is known of a job's failures. */
export interface Failing {
  /** Moments of its last consecutive final failures that lie within the window, oldest first. */
  readonly streak: readonly number[];
  readonly disabled: AutoDisabled | null;
}

/** A run that has ended. */
export interface EndedRun {
  readonly occurrenceId: string;
  readonly status: OccurrenceStatus;
  /** The due time, or when it was triggered. Epoch milliseconds. */
  readonly scheduledFor: number;
  readonly endedAt: number;
  readonly reason: string | null;
}

/** News about a job, told when the transaction has committed. */
export interface AutoDisableChange {
  readonly jobId: string;
  readonly kind: "disabled" | "probeFailed" | "enabled";
  readonly state: AutoDisabled;
}

/** What follows from the end of a run for its job. */
export function afterRun(
  before: Failing,
  run: EndedRun,
  rule: AutoDisableRule | null,
  now: number,
): Failing & { readonly change: AutoDisableChange["kind"] | null } {
  const { disabled } = before;
  if (isDisabledNow(disabled)) {
    if (disabled.probeId !== run.occurrenceId) return { ...before, change: null };
    return afterProbe({ ...before, disabled }, run, now);
  }
  if (run.status === "Completed") return { streak: [], disabled, change: null };
  if ((run.status !== "Failed" && run.status !== "TimedOut") || rule === null) {
    return { ...before, change: null };
  }
  const streak = longer(before.streak, Math.min(run.endedAt, now), rule);
  if (streak.length < rule.failures) return { streak, disabled, change: null };
  const text = `${rule.failures} failures in a row within ${rule.windowSeconds / 60} min. The last: ${
    run.reason ?? run.status
  }`;
  return {
    streak,
    change: "disabled",
    disabled: {
      since: now,
      until: null,
      failures: streak.length,
      occurrenceId: run.occurrenceId,
      reason: cut(text),
      probeAt: rule.cooldownSeconds === null ? null : now + rule.cooldownSeconds * 1000,
      probeId: null,
      cooldownSeconds: rule.cooldownSeconds,
    },
  };
}

function afterProbe(
  { streak, disabled }: { readonly streak: readonly number[]; readonly disabled: AutoDisabled },
  run: EndedRun,
  now: number,
): Failing & { readonly change: AutoDisableChange["kind"] | null } {
  if (run.status === "Completed") return { streak: [], disabled: enabled(disabled, now), change: "enabled" };
  if (run.status === "Cancelled") return { streak, disabled: { ...disabled, probeId: null }, change: null };
  const { cooldownSeconds: last, probeAt } = disabled;
  // A probe before its time was somebody's wish: it makes the next one no later than it would have been.
  const isEarly = probeAt === null || run.scheduledFor < probeAt;
  const next = last === null || isEarly ? last : Math.max(last, Math.min(last * 2, COOLDOWN_AT_MOST_SECONDS));
  return {
    streak,
    change: "probeFailed",
    disabled: {
      ...disabled,
      failures: disabled.failures + 1,
      occurrenceId: run.occurrenceId,
      reason: cut(
        `${disabled.failures + 1} failures in a row. The last, a probe: ${run.reason ?? run.status}`,
      ),
      probeId: null,
      probeAt: next === null ? null : now + next * 1000,
      cooldownSeconds: next,
    },
  };
}

/** The newest failures that the rule looks at: within its window, and no more than disable the job. */
function longer(streak: readonly number[], at: number, rule: AutoDisableRule): readonly number[] {
  const all = [...streak, at].sort((left, right) => left - right);
  const newest = all.at(-1) ?? at;
  return all.filter((one) => newest - one <= rule.windowSeconds * 1000).slice(-rule.failures);
}

/** True while its due times do not run. */
export function isDisabledNow(state: AutoDisabled | null): state is AutoDisabled {
  return state !== null && state.until === null;
}

/** The state once the job is enabled again at `now`; it is dropped when nothing before that is undecided. */
export function enabled(state: AutoDisabled, now: number): AutoDisabled {
  return { ...state, until: now, probeAt: null, probeId: null };
}

/** True when a state that has ended concerns no due time any more. */
export function isOver(state: AutoDisabled, nextDueAt: number | null): boolean {
  return state.until !== null && (nextDueAt === null || nextDueAt >= state.until);
}

/** Whether a trigger may run while the job is in this state, and whether its first run would be the probe. */
export function probeEntry(
  state: AutoDisabled | null,
  items: number,
  isForced: boolean,
):
  | { readonly ok: true; readonly mayProbe: boolean }
  | { readonly ok: false; readonly reason: "auto-disabled"; readonly probeId: string | null } {
  if (!isDisabledNow(state)) return { ok: true, mayProbe: false };
  const mayProbe = state.probeId === null && items === 1;
  return mayProbe || isForced
    ? { ok: true, mayProbe }
    : { ok: false, reason: "auto-disabled", probeId: state.probeId };
}

/** The moment from which due times are open again, or may be a probe; Infinity while none is. */
export function openFrom(state: AutoDisabled | null): number {
  if (state === null) return -Infinity;
  if (state.until !== null) return state.until;
  return state.probeId !== null ? Infinity : state.probeAt ?? Infinity;
}

/** Who is behind the due times that did not run. */
export function disabledBy({ failures, occurrenceId }: AutoDisabled): string {
  return `${failures} failures in a row, the last of them occurrence ${occurrenceId}`;
}

/** The state as it is stored; the same state gives the same text. */
export function autoDisabledText(state: AutoDisabled | null): string | null {
  return state === null ? null : JSON.stringify(state);
}

/** The state in a stored text. */
export function readAutoDisabled(text: unknown): AutoDisabled | null {
  return typeof text === "string" ? JSON.parse(text) as AutoDisabled : null;
}

/** The streak in a stored text. */
export function readStreak(text: unknown): readonly number[] {
  return typeof text === "string" ? JSON.parse(text) as readonly number[] : [];
}

/** On one line, and storable everywhere: no NUL, no half of a surrogate pair. */
function cut(text: string): string {
  const line = text.replaceAll("\0", "\uFFFD").toWellFormed();
  return line.length > REASON_AT_MOST ? line.slice(0, REASON_AT_MOST).toWellFormed() + "…" : line;
}
