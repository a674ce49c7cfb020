/** Bulk actions: made and steered by the API, done step by step by the leader, fenced by its epoch. */
import type { BulkAction, BulkCommand, BulkOptions, CountRefusal } from "../domain/bulk_action.ts";
import type { JobMessage } from "../domain/message.ts";
import type { OccurrenceStatus } from "../domain/occurrence.ts";
import type { TypeDefaults } from "../domain/terms.ts";
import type { FailedFilter } from "./failed_occurrences.ts";
import type { Page, RecordAnswer } from "./store.ts";

/** Active occurrences: those that can be cancelled. */
export interface ActiveFilter {
  readonly jobId?: string;
  readonly jobType?: string;
  /** Of Queued, Running, Unknown. */
  readonly statuses?: readonly OccurrenceStatus[];
  /** Due at or after, epoch milliseconds. */
  readonly from?: number;
  /** Due before. */
  readonly to?: number;
}

/** What an action is about: failed occurrences to replay, or active ones to cancel. Ids without repetition. */
export type BulkSelection =
  | { readonly kind: "replay"; readonly ids: readonly string[] }
  | { readonly kind: "replay"; readonly filter: FailedFilter }
  | { readonly kind: "cancel"; readonly ids: readonly string[] }
  | { readonly kind: "cancel"; readonly filter: ActiveFilter };

/** What an action would be about now. */
export interface BulkPreview {
  readonly count: number;
  /** The ids of the first of them. */
  readonly sample: readonly string[];
}

export interface NewBulkAction extends BulkOptions {
  readonly id: string;
  readonly selection: BulkSelection;
  /** Refuse when there are more or fewer; null takes what there is, by a filter `MAX_UNCOUNTED` at most. */
  readonly expectedCount: number | null;
  readonly at: number;
  /** As in `TriggerRequest`. */
  readonly idempotency: { readonly key: string; readonly requestHash: string } | null;
}

export type BulkCreateAnswer =
  | { readonly ok: true; readonly action: BulkAction; readonly replayed: boolean }
  | { readonly ok: false; readonly reason: "idempotency-mismatch" }
  /** Ids that nothing (active) has. */
  | { readonly ok: false; readonly reason: "unknown"; readonly ids: readonly string[] }
  /**
   * none: nothing matches. too-many: above `MAX_BULK_ITEMS`. uncounted: above `MAX_UNCOUNTED`, and nobody said how many.
   * unexpected: not the expected count.
   */
  | {
    readonly ok: false;
    readonly reason: CountRefusal;
    readonly count: number;
  };

export type BulkCommandAnswer =
  | { readonly ok: true; readonly action: BulkAction; readonly isNew: boolean }
  | { readonly ok: false; readonly reason: "not-found" }
  | { readonly ok: false; readonly reason: "ended"; readonly action: BulkAction };

export interface BulkStepRequest {
  readonly actionId: string;
  readonly now: number;
  /** Items to begin at most. */
  readonly most: number;
  /** Fresh ids for the occurrences of replays, `most` of them. */
  readonly occurrenceIds: readonly string[];
  readonly defaultsOf: (jobType: string) => TypeDefaults;
}

/** What a step did. */
export interface BulkStep {
  readonly action: BulkAction;
  /** Items that were begun, or had their end at once. */
  readonly begun: number;
  /** True when anything about the action changed. */
  readonly isChanged: boolean;
  /** To be published by the caller. */
  readonly messages: readonly JobMessage[];
  /** What ended at once, or null. */
  readonly record: RecordAnswer | null;
  /** Running ones whose workers are to be told that they are to stop. */
  readonly requested: readonly { readonly occurrenceId: string; readonly token: number }[];
}

export type BulkStepAnswer =
  | { readonly ok: true; readonly step: BulkStep | null }
  /** Another instance leads. Nothing was written. */
  | { readonly ok: false; readonly reason: "stale-epoch" };

export interface BulkActions {
  preview(selection: BulkSelection): Promise<BulkPreview>;
  /** Writes the action and its exact set down. */
  create(action: NewBulkAction): Promise<BulkCreateAnswer>;
  get(id: string): Promise<BulkAction | null>;
  /** Newest first. */
  list(limit: number, after: string | null): Promise<Page<BulkAction>>;
  command(
    id: string,
    command: BulkCommand,
    by: { readonly by: string; readonly at: number },
  ): Promise<BulkCommandAnswer>;
  /** Ids of the actions with something left to do or to wait for, oldest first. */
  unsettled(limit: number): Promise<readonly string[]>;
  /**
   * One transaction of an action: notes which of its items have ended, stops or completes it, and begins the next
   * ones. An item is begun at most once, whoever calls and however often. An item that its job's policy does not let
   * begin stays and is tried again a second later. `step` null: there is no such action.
   */
  step(epoch: number, request: BulkStepRequest): Promise<BulkStepAnswer>;
}

/** What was asked for as it is stored: the filter, or how many ids. */
export function selectionText(selection: BulkSelection): string {
  return JSON.stringify("ids" in selection ? { ids: selection.ids.length } : selection.filter);
}
