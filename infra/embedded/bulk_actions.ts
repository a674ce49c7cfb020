/** Bulk actions: made, steered, and done step by step. A step is one transaction under the leader's epoch. */
import {
  afterCommand,
  afterStep,
  type BulkAction,
  type BulkCommand,
  countRefusal,
  isSettled,
  itemOfReplay,
  type ItemState,
  MAX_BULK_ITEMS,
  mayBegin,
  PUT_OFF_MS,
  whyStop,
} from "../../actors/domain/bulk_action.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type {
  BulkActions,
  BulkCommandAnswer,
  BulkCreateAnswer,
  BulkPreview,
  BulkSelection,
  BulkStep,
  BulkStepAnswer,
  BulkStepRequest,
  NewBulkAction,
} from "../../actors/ports/bulk_actions.ts";
import type { Page, RecordAnswer } from "../../actors/ports/store.ts";
import { BulkRows, type StoredAction } from "./bulk_rows.ts";
import type { Database } from "./database.ts";
import type { Epochs } from "./epochs.ts";
import type { FailedRows } from "./failed_rows.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { IdempotencyKeys } from "./idempotency_keys.ts";
import type { EmbeddedOutcomes } from "./outcomes.ts";
import type { Replays } from "./replays.ts";

/** Ids shown of a selection. */
const SAMPLE = 10;

export interface BulkParts {
  readonly database: Database;
  readonly group: GroupCommit;
  readonly epochs: Epochs;
  readonly replays: Replays;
  readonly outcomes: EmbeddedOutcomes;
  readonly failed: FailedRows;
  readonly keys: IdempotencyKeys;
}

export class EmbeddedBulkActions implements BulkActions {
  readonly #rows: BulkRows;

  constructor(private readonly parts: BulkParts) {
    this.#rows = new BulkRows(parts.database);
  }

  preview(selection: BulkSelection): Promise<BulkPreview> {
    return this.parts.group.read(() => ({
      count: this.#rows.count(selection, Number.MAX_SAFE_INTEGER - 1),
      sample: this.#rows.first(selection, SAMPLE),
    }));
  }

  create(action: NewBulkAction): Promise<BulkCreateAnswer> {
    return this.parts.group.write((): BulkCreateAnswer => {
      const { keys } = this.parts;
      const { idempotency, selection, expectedCount, at } = action;
      const seen = keys.find(idempotency, at);
      if (seen === "mismatch") return { ok: false, reason: "idempotency-mismatch" };
      if (seen !== null) return { ok: true, action: this.#known(seen[0] ?? ""), replayed: true };
      const count = this.#rows.count(selection, MAX_BULK_ITEMS);
      if ("ids" in selection && count < selection.ids.length) {
        const known = new Set(this.#rows.first(selection, selection.ids.length));
        return { ok: false, reason: "unknown", ids: selection.ids.filter((id) => !known.has(id)) };
      }
      const refusal = countRefusal(count, { isFilter: "filter" in selection, expectedCount });
      if (refusal !== null) return { ok: false, reason: refusal, count };
      this.#rows.insert(action, count);
      keys.keep(idempotency, at, [action.id]);
      return { ok: true, action: this.#known(action.id), replayed: false };
    });
  }

  get(id: string): Promise<BulkAction | null> {
    return this.parts.group.read(() => {
      const action = this.#rows.get(id);
      return action === null ? null : this.#rows.counted(action);
    });
  }

  list(limit: number, after: string | null): Promise<Page<BulkAction>> {
    return this.parts.group.read(() => this.#rows.list(limit, after));
  }

  command(
    id: string,
    command: BulkCommand,
    { by, at }: { readonly by: string; readonly at: number },
  ): Promise<BulkCommandAnswer> {
    return this.parts.group.write((): BulkCommandAnswer => {
      const before = this.#rows.get(id);
      if (before === null) return { ok: false, reason: "not-found" };
      const action = this.#rows.counted(before);
      const commanded = afterCommand(action, command, { by, at });
      if (commanded === null) return { ok: false, reason: "ended", action };
      if (commanded === action) return { ok: true, action, isNew: false };
      this.#rows.change({ ...before, ...commanded }, isSettled(commanded));
      return { ok: true, action: commanded, isNew: true };
    });
  }

  unsettled(limit: number): Promise<readonly string[]> {
    return this.parts.group.read(() => this.#rows.unsettled(limit));
  }

  step(epoch: number, request: BulkStepRequest): Promise<BulkStepAnswer> {
    return this.parts.group.write((): BulkStepAnswer => {
      const { epochs } = this.parts;
      if (!epochs.isCurrent(epoch)) {
        epochs.countRefusedWrite(epoch);
        return { ok: false, reason: "stale-epoch" };
      }
      const action = this.#rows.get(request.actionId);
      return { ok: true, step: action === null ? null : this.#step(action, request) };
    });
  }

  #step(before: StoredAction, request: BulkStepRequest): BulkStep {
    const { seq } = before;
    const { now, most } = request;
    const ended = this.#rows.noteEnded(before);
    let action = this.#rows.counted(before);
    const isCanary = before.canary && before.state === "running";
    const stop = isCanary ? whyStop(action.counts, this.#rows.returned(seq)) : null;
    const begun = new Begun(action);
    if (stop === null && action.state === "running") {
      const room = Math.min(most, mayBegin(action.counts, action.canary));
      const targets = room > 0 ? this.#rows.waiting(seq, now, room) : [];
      if (before.kind === "replay") this.#replay(before, targets, request, begun);
      else this.#cancel(before, targets, request, begun);
      action = { ...action, counts: begun.counts };
    }
    const after = afterStep(action, stop, now);
    const isChanged = ended > 0 || begun.count > 0 || after.state !== before.state;
    if (isChanged || isSettled(after)) {
      this.#rows.change(
        { ...before, ...after, changedAt: isChanged ? now : before.changedAt },
        isSettled(after),
      );
    }
    const { messages, requested, record } = begun;
    return { action: after, begun: begun.count, isChanged, messages, requested, record };
  }

  #replay(action: StoredAction, targets: readonly string[], request: BulkStepRequest, begun: Begun): void {
    const { now, occurrenceIds, defaultsOf } = request;
    for (const [index, id] of targets.entries()) {
      const occurrenceId = occurrenceIds[index];
      if (occurrenceId === undefined) return;
      const resolvedAt = this.parts.failed.replayed(id)?.resolvedAt ?? null;
      if (resolvedAt !== null && resolvedAt > action.createdAt) {
        this.#rows.moveItem(action.seq, id, { state: "skipped", reason: "It has been resolved meanwhile" });
        begun.moved("skipped");
        continue;
      }
      const { force, reason, by, id: actionId } = action;
      const replay = { id, occurrenceId, at: now, jobData: null, force, reason, by, actionId, defaultsOf };
      const answer = this.parts.replays.begin(replay);
      if (answer.ok) {
        this.#rows.moveItem(action.seq, id, { state: "on", occurrenceId, scheduledFor: now });
        if (answer.message !== null) begun.messages.push(answer.message);
        begun.moved("on");
        continue;
      }
      const fate = itemOfReplay(answer);
      if (fate.state === "waiting") this.#rows.putOff(action.seq, id, now + PUT_OFF_MS, fate.reason);
      else {
        this.#rows.moveItem(action.seq, id, fate);
        begun.moved(fate.state);
      }
    }
  }

  #cancel(action: StoredAction, targets: readonly string[], { now }: BulkStepRequest, begun: Begun): void {
    if (targets.length === 0) return;
    const { by, reason } = action;
    const { standing, record } = this.parts.outcomes.cancelAll(targets, {
      by,
      reason: reason ?? "no reason given",
      requestedAt: now,
    });
    begun.record = record;
    for (const [index, target] of targets.entries()) {
      const answer = standing[index];
      if (answer === undefined) continue;
      if (!answer.ok) {
        const reason = answer.reason === "final" ? `It had ended as ${answer.status}` : "It is gone";
        this.#rows.moveItem(action.seq, target, { state: "skipped", occurrenceId: target, reason });
        begun.moved("skipped");
      } else if (answer.state === "requested") {
        this.#rows.moveItem(action.seq, target, { state: "on", occurrenceId: target });
        begun.requested.push({ occurrenceId: target, token: answer.token });
        begun.moved("on");
      } else {
        this.#rows.moveItem(action.seq, target, { state: "succeeded", occurrenceId: target });
        begun.moved("succeeded");
      }
    }
  }

  #known(id: string): BulkAction {
    const action = this.#rows.get(id);
    if (action === null) throw new Error(`Cannot read bulk action ${id}: no such row`);
    return this.#rows.counted(action);
  }
}

/** What a step begins. */
class Begun {
  count = 0;
  counts: Record<ItemState, number>;
  readonly messages: JobMessage[] = [];
  readonly requested: { readonly occurrenceId: string; readonly token: number }[] = [];
  record: RecordAnswer | null = null;

  constructor({ counts }: BulkAction) {
    this.counts = { ...counts };
  }

  /** A waiting item went on. */
  moved(to: ItemState): void {
    this.count += 1;
    this.counts.waiting -= 1;
    this.counts[to] += 1;
  }
}
