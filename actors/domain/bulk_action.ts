/**
 * Bulk actions: something done to many, tracked. The exact set is written down when the action is made; then the
 * leader does it item by item at a rate.
 *
 *   running ──► completed             every item has its end
 *    │ ▲  ├───► stopped               by itself: an error that was replayed came back, or most of a canary failed
 *    ▼ │  └───► cancelled             by a person; what was begun goes on to its end
 *   paused ───► cancelled
 *
 *   item: waiting ──► on ──► succeeded | failed | skipped        waiting ──► succeeded | skipped
 *
 * Canary (replays): one item, then ten, then the rest. A stage begins when all runs of those before it have ended.
 */

/** What an action does to its items. */
export const BULK_KINDS = ["replay", "cancel"] as const;
/** One of `BULK_KINDS`. */
export type BulkKind = (typeof BULK_KINDS)[number];

/** The states of an action. */
export const BULK_STATES = ["running", "paused", "stopped", "cancelled", "completed"] as const;
/** One of `BULK_STATES`. */
export type BulkState = (typeof BULK_STATES)[number];

/** The states of an item; the position is the number in the store. */
export const ITEM_STATES = ["waiting", "on", "succeeded", "failed", "skipped"] as const;
/** One of `ITEM_STATES`. */
export type ItemState = (typeof ITEM_STATES)[number];

/** Most items of one action. */
export const MAX_BULK_ITEMS = 100_000;
/** Most items of an action over a filter for which nobody has said how many there are. */
export const MAX_UNCOUNTED = 100;
/** Most items an action may begin a second. */
export const MAX_BULK_RATE = 1000;
/** Items begun a second unless said otherwise. */
export const DEFAULT_BULK_RATE = 10;

/** How many items have been begun when the first and the second stage of a canary are full. */
const CANARY_STAGES = [1, 11] as const;

/** How many items are in each state. */
export type ItemCounts = Readonly<Record<ItemState, number>>;

/** Why nothing is done to as many as match. */
export type CountRefusal = "none" | "too-many" | "uncounted" | "unexpected";

/** Whether so many are refused, or null. */
export function countRefusal(
  count: number,
  { isFilter, expectedCount }: { readonly isFilter: boolean; readonly expectedCount: number | null },
): CountRefusal | null {
  if (count === 0) return "none";
  if (count > MAX_BULK_ITEMS) return "too-many";
  if (expectedCount === null) return isFilter && count > MAX_UNCOUNTED ? "uncounted" : null;
  return expectedCount === count ? null : "unexpected";
}

/** What a person asks for. */
export interface BulkOptions {
  readonly ratePerSecond: number;
  /** Replays only. */
  readonly canary: boolean;
  /** Replays only: overrides Skip. */
  readonly force: boolean;
  readonly reason: string | null;
  readonly by: string;
}

/** An action, as it stands. */
export interface BulkAction extends BulkOptions {
  readonly id: string;
  readonly kind: BulkKind;
  readonly state: BulkState;
  /** What was asked for, as it came in: the filter or how many ids. JSON text. */
  readonly selection: string;
  readonly total: number;
  readonly counts: ItemCounts;
  /** Why it stopped by itself, or who paused or cancelled it; null while nobody did. */
  readonly stateReason: string | null;
  readonly createdAt: number;
  readonly changedAt: number;
  readonly endedAt: number | null;
}

/** True for a state that an action does not leave. */
export function isEnded(state: BulkState): boolean {
  return state !== "running" && state !== "paused";
}

/** Counts with none in any state. */
export const NO_ITEMS: ItemCounts = { waiting: 0, on: 0, succeeded: 0, failed: 0, skipped: 0 };

/** The number of an item state in the store. */
export function itemStateNumber(state: ItemState): number {
  return ITEM_STATES.indexOf(state);
}

/** Counts of rows of (state's number, count). */
export function countsOf(rows: readonly (readonly [state: number, count: number])[]): ItemCounts {
  const counts = { ...NO_ITEMS };
  for (const [number, count] of rows) {
    const state = ITEM_STATES[number];
    if (state === undefined) throw new RangeError(`No item state has the number ${number}`);
    counts[state] += count;
  }
  return counts;
}

/** How many further items may be begun now. Skipped ones prove nothing and do not count. */
export function mayBegin(counts: ItemCounts, canary: boolean): number {
  if (!canary) return counts.waiting;
  const begun = counts.on + counts.succeeded + counts.failed;
  for (const bound of CANARY_STAGES) {
    if (begun < bound) return Math.min(bound - begun, counts.waiting);
    if (begun === bound && counts.on > 0) return 0;
  }
  return counts.waiting;
}

/** What a person may do to an action. */
export const BULK_COMMANDS = ["pause", "resume", "cancel"] as const;
/** One of `BULK_COMMANDS`. */
export type BulkCommand = (typeof BULK_COMMANDS)[number];

/**
 * The action after a command: the same object when it stands like that already, null when its state does not allow
 * it any more.
 */
export function afterCommand(
  action: BulkAction,
  command: BulkCommand,
  { by, at }: { readonly by: string; readonly at: number },
): BulkAction | null {
  const state = ({ pause: "paused", resume: "running", cancel: "cancelled" } as const)[command];
  if (action.state === state) return action;
  if (isEnded(action.state)) return null;
  return {
    ...action,
    state,
    stateReason: state === "running" ? null : `${state === "paused" ? "Paused" : "Cancelled"} by ${by}`,
    changedAt: at,
    endedAt: isEnded(state) ? at : null,
  };
}

/**
 * Why a canary is to begin no more, or null. `returned`: a replay that ended in the error replayed. Another error may be
 * of one item, but not when it is that of most of a stage.
 */
export function whyStop(
  counts: ItemCounts,
  returned: { readonly occurrenceId: string; readonly fingerprint: string } | null,
): string | null {
  if (returned !== null) {
    return `replay ${returned.occurrenceId} ended in the same error (${returned.fingerprint})`;
  }
  const { on, succeeded, failed, waiting } = counts;
  const begun = on + succeeded + failed;
  const isStageOver = on === 0 && waiting > 0 && CANARY_STAGES.some((bound) => begun === bound);
  if (!isStageOver || failed * 2 <= begun) return null;
  return begun === 1 ? "the first replay failed" : `${failed} of the first ${begun} replays failed`;
}

/** The action after a step that left it with these counts. `stop`: see `whyStop`. */
export function afterStep(action: BulkAction, stop: string | null, now: number): BulkAction {
  if (action.state !== "running") return action;
  if (stop !== null) {
    const stateReason = `Stopped by itself: ${stop}`;
    return { ...action, state: "stopped", stateReason, changedAt: now, endedAt: now };
  }
  if (action.counts.waiting > 0 || action.counts.on > 0) return action;
  return { ...action, state: "completed", changedAt: now, endedAt: now };
}

/** True when nothing is left to do or to wait for. */
export function isSettled({ state, counts }: BulkAction): boolean {
  return isEnded(state) && counts.on === 0;
}

/** An item that its job's policy holds up is tried again after this long, milliseconds. */
export const PUT_OFF_MS = 1000;

/** What becomes of an item whose replay was refused. */
export function itemOfReplay(
  refusal:
    | { readonly reason: "not-found" | "disabled" }
    | { readonly reason: "overlap" | "replay-on" | "queue-full"; readonly occurrenceId: string },
): { readonly state: "waiting" | "skipped"; readonly reason: string } {
  switch (refusal.reason) {
    case "not-found":
      return { state: "skipped", reason: "It is gone" };
    case "disabled":
      return { state: "skipped", reason: "Its job is not active" };
    case "replay-on":
      return { state: "skipped", reason: `Occurrence ${refusal.occurrenceId} replays it already` };
    case "overlap":
      return { state: "waiting", reason: `Waits for occurrence ${refusal.occurrenceId} (policy Skip)` };
    case "queue-full":
      return {
        state: "waiting",
        reason: `Too many wait for occurrence ${refusal.occurrenceId} already (policy Queue)`,
      };
  }
}

/** The options of an action as they are stored. */
export function optionsText({ ratePerSecond, canary, force, reason, by }: BulkOptions): string {
  return JSON.stringify({ ratePerSecond, canary, force, reason, by });
}
