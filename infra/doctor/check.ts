/**
 * What a check is. A subject (a server, this machine) is reached once by a probe; its checks then look at it side by
 * side, each for a few seconds at most. A check that cannot find out says so and fails nothing.
 */
import type { Clock } from "../../actors/ports/clock.ts";

export type CheckState = "ok" | "warning" | "failed" | "unknown";

/** What a check found out: a sentence, and what to do where there is something to do. */
export interface Finding {
  readonly state: CheckState;
  readonly message: string;
  readonly nextStep: string | null;
}

export interface CheckResult extends Finding {
  readonly subject: string;
  readonly check: string;
}

export interface Check<Probe> {
  readonly name: string;
  /** Throwing means that it could not find out. */
  readonly look: (probe: Probe) => Promise<Finding> | Finding;
}

export interface Examination<Probe> {
  /** As people call it: `PostgreSQL`. */
  readonly subject: string;
  /** Reaches the subject. A failure is a finding of its own, and then nothing else is looked at. */
  readonly reach: () => Promise<Probe>;
  readonly explain: (error: Error) => Finding;
  readonly checks: readonly Check<Probe>[];
  readonly leave: (probe: Probe) => Promise<void>;
}

/** Milliseconds for reaching a subject, and for each check. */
export const CHECK_MS = 5000;
/** For a client's own attempt to connect: it says more than "no answer", and needs a moment to clear up. */
export const CONNECT_MS = 3500;

export const ok = (message: string): Finding => ({ state: "ok", message, nextStep: null });
export const warning = (message: string, nextStep: string): Finding => ({
  state: "warning",
  message,
  nextStep,
});
export const failed = (message: string, nextStep: string): Finding => ({
  state: "failed",
  message,
  nextStep,
});
export const unknown = (message: string, nextStep: string | null = null): Finding => ({
  state: "unknown",
  message,
  nextStep,
});

/** Never rejects; the results are in the order of the checks. */
export async function examine<Probe>(
  { subject, reach, explain, checks, leave }: Examination<Probe>,
  clock: Pick<Clock, "timer">,
): Promise<readonly CheckResult[]> {
  const reaching = reach();
  let probe: Probe;
  try {
    probe = await within(clock, reaching);
  } catch (error) {
    // Whoever answers after all is not left waiting.
    void reaching.then(leave).catch(() => {});
    return [{ subject, check: "reachable", ...explain(asError(error)) }];
  }
  const results = await Promise.all(checks.map(async ({ name, look }): Promise<CheckResult> => {
    try {
      return { subject, check: name, ...await within(clock, Promise.resolve(look(probe))) };
    } catch (error) {
      return { subject, check: name, ...unknown(`Cannot find out: ${asError(error).message}.`) };
    }
  }));
  await within(clock, leave(probe)).catch(() => {});
  return results;
}

/** The work's result; rejects when there is none in time. */
function within<T>(clock: Pick<Clock, "timer">, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.timer(CHECK_MS, () => reject(new Error(`no answer within ${CHECK_MS / 1000} s`)));
    work.then(resolve, reject).finally(cancel);
  });
}

/** An error with several causes (an address that resolves to two) has no message of its own. */
export function asError(error: unknown): Error & { readonly code?: unknown } {
  if (error instanceof AggregateError && error.message === "" && error.errors.length > 0) {
    return asError(error.errors[0]);
  }
  return error instanceof Error ? error : new Error(String(error));
}
