/** Dead letters: read, resolved, replayed. They are written by the outcomes, in the transaction of the end. */
import type { CountRefusal } from "../domain/bulk_action.ts";
import type { FailedOccurrence, FailureKind, OutputLine, Resolution } from "../domain/failed_occurrence.ts";
import type { JobMessage } from "../domain/message.ts";
import type { OccurrenceStatus } from "../domain/occurrence.ts";
import type { TypeDefaults } from "../domain/terms.ts";
import type { Page } from "./store.ts";

export interface FailedFilter {
  readonly jobId?: string;
  readonly jobType?: string;
  readonly fingerprint?: string;
  readonly kinds?: readonly FailureKind[];
  /** Failed at or after, epoch milliseconds. */
  readonly from?: number;
  /** Failed before. */
  readonly to?: number;
  readonly isResolved?: boolean;
}

/** Failed occurrences of one fingerprint. */
export interface FailedGroup {
  readonly fingerprint: string;
  readonly count: number;
  /** Different jobs among them. */
  readonly jobs: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** The newest of them. */
  readonly sample: FailedOccurrence;
}

/** A replay of a failed occurrence. */
export interface ReplayLink {
  readonly occurrenceId: string;
  readonly at: number;
  /** The bulk action it belongs to, or null. */
  readonly actionId: string | null;
  /** Null when retention has deleted it. */
  readonly status: OccurrenceStatus | null;
}

export interface FailedDetail {
  readonly failed: FailedOccurrence;
  /** JSON text. */
  readonly jobData: string;
  /** Of suspects: what it wrote last. */
  readonly lastOutput: readonly OutputLine[];
  /** The occurrence that this one was a replay of, or null. */
  readonly replayOf: string | null;
  /** Oldest first. */
  readonly replays: readonly ReplayLink[];
}

export type ResolveAnswer =
  /** `isNew` false: it stood like this already. */
  | { readonly ok: true; readonly isNew: boolean; readonly failed: FailedOccurrence }
  | { readonly ok: false; readonly reason: "not-found" }
  | { readonly ok: false; readonly reason: "resolved"; readonly current: Resolution };

export interface ReplayRequest {
  /** The failed occurrence's. */
  readonly id: string;
  /** The new occurrence's. */
  readonly occurrenceId: string;
  readonly at: number;
  /** JSON text; null takes the failed one's. */
  readonly jobData: string | null;
  /** Overrides Skip, and a replay that is still on. */
  readonly force: boolean;
  readonly reason: string | null;
  readonly by: string;
  /** As in `TriggerRequest`. */
  readonly idempotency: { readonly key: string; readonly requestHash: string } | null;
  readonly defaultsOf: (jobType: string) => TypeDefaults;
}

/** Why a replay was not begun. */
export type ReplayRefusal =
  | { readonly reason: "not-found" | "disabled" }
  /** Policy Skip, and this one is queued or running; or a replay of the same is; or too many wait behind it (Queue). */
  | { readonly reason: "overlap" | "replay-on" | "queue-full"; readonly occurrenceId: string };

export type ReplayAnswer =
  | {
    readonly ok: true;
    readonly occurrenceId: string;
    readonly jobId: string;
    readonly jobType: string;
    /** To be published by the caller; none while it waits for the run before it. */
    readonly messages: readonly JobMessage[];
    /** True when the key was seen before: nothing was created. */
    readonly replayed: boolean;
  }
  | ({ readonly ok: false } & ReplayRefusal)
  | { readonly ok: false; readonly reason: "idempotency-mismatch" };

/** What many are resolved by: their ids, without repetition, or a filter. Those that are resolved already stay as they are. */
export type ResolveSelection = { readonly ids: readonly string[] } | { readonly filter: FailedFilter };

export type ResolveManyAnswer =
  | { readonly ok: true; readonly count: number }
  /** As of a bulk action (`countRefusal`). Nothing was resolved. */
  | { readonly ok: false; readonly reason: CountRefusal; readonly count: number };

export interface FailedOccurrences {
  /** Newest failure first. */
  list(filter: FailedFilter, limit: number, after: string | null): Promise<Page<FailedOccurrence>>;
  /** By fingerprint, the largest first. */
  groups(filter: FailedFilter, limit: number, after: string | null): Promise<Page<FailedGroup>>;
  get(id: string): Promise<FailedDetail | null>;
  /** How many nobody has resolved, by kind. */
  unresolved(): Promise<Readonly<Record<FailureKind, number>>>;
  /** The same resolution (action and note) again is fine, another one is refused. */
  resolve(id: string, resolution: Resolution): Promise<ResolveAnswer>;
  /** All that are selected and not resolved, in one transaction. */
  resolveMany(
    selection: ResolveSelection,
    resolution: Resolution,
    expectedCount: number | null,
  ): Promise<ResolveManyAnswer>;
  /** Takes the resolution back; of one that has none that is fine. */
  reopen(id: string): Promise<ResolveAnswer>;
  replay(request: ReplayRequest): Promise<ReplayAnswer>;
}
