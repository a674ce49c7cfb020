/** What stands between a job, or one of its occurrences, and its run. */
import type { Evidence } from "./explanation.ts";

/** In the order of importance: what is named first has to be gone before the others matter. */
export const HINDRANCE_CODES = [
  /** The store cannot be reached: nothing is decided, and nothing can be said of the job. */
  "database-down",
  "disabled",
  "auto-disabled",
  "paused",
  "schedule-over",
  "run-limit-reached",
  /** Nothing is scheduled: it runs when somebody triggers it. */
  "trigger-only",
  "outside-window",
  /** A person, or a limit, ends the occurrence. */
  "cancel-requested",
  "no-leader",
  /** Somebody leads, and a due time is not decided although it has come. */
  "leader-behind",
  "broker-down",
  "no-worker",
  "no-worker-in-pool",
  /** Workers with a free lane are there, and none listens to the queue: their way to the broker is cut. */
  "worker-not-listening",
  /** The worker of a run is silent; it is not known whether it still runs. */
  "worker-silent",
  /** The worker of a run cannot deliver its reports: the run may have ended. */
  "reports-held-back",
  "overlap",
  /** It waits for the runs before it (policy Queue, or it catches up). */
  "waiting-turn",
  "back-off",
  /** It is not to start yet, because runs that catch up are spaced out. */
  "spaced-out",
  "unpublished",
  "lanes-full",
  "queue-behind",
  /** Due index, lock and presence are out of reach: the leader goes on from the store. */
  "redis-down",
  "skipped-once",
  /** Nothing is in its way: a worker is about to take it. */
  "about-to-start",
] as const;
export type HindranceCode = (typeof HINDRANCE_CODES)[number];

/** One cause. Moments are epoch milliseconds. */
export interface Hindrance {
  readonly code: HindranceCode;
  readonly sentence: string;
  /** Since when, where that is known. */
  readonly since: number | null;
  /** When it ends by itself, where that is known. */
  readonly until: number | null;
  readonly evidence: readonly Evidence[];
}

/** A cause with what is known of it. */
export function hindrance(
  code: HindranceCode,
  sentence: string,
  known: Partial<Pick<Hindrance, "since" | "until" | "evidence">> = {},
): Hindrance {
  return { code, sentence, since: null, until: null, evidence: [], ...known };
}

/** The most important first; of one code in the order given. */
export function byImportance(hindrances: readonly Hindrance[]): readonly Hindrance[] {
  const place = ({ code }: Hindrance): number => HINDRANCE_CODES.indexOf(code);
  return hindrances.toSorted((left, right) => place(left) - place(right));
}
