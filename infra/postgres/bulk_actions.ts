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
import {
  changeAction,
  countedAction,
  countItems,
  countTargets,
  deleteAction,
  firstTargets,
  insertAction,
  type ItemChange,
  listActions,
  moveItems,
  noteEnded,
  readAction,
  resolvedSince,
  returnedError,
  type StoredAction,
  unsettledActions,
  waitingItems,
} from "./bulk_rows.ts";
import type { Database, Session } from "./database.ts";
import { type Epochs, readFence } from "./epochs.ts";
import { keepKeys, seenKeys } from "./idempotency_keys.ts";
import type { PostgresOutcomes } from "./outcomes.ts";
import type { Partitions } from "./partitions.ts";
import type { OccurrenceKey } from "./occurrence_rows.ts";
import { beginReplays } from "./replays.ts";
import type { TermsBook, TermsDraft } from "./terms.ts";

/** Ids shown of a selection. */
const SAMPLE = 10;

export interface BulkParts {
  readonly database: Database;
  readonly epochs: Epochs;
  readonly outcomes: PostgresOutcomes;
  readonly partitions: Partitions;
  readonly terms: TermsBook;
}

export class PostgresBulkActions implements BulkActions {
  constructor(private readonly parts: BulkParts) {}

  preview(selection: BulkSelection): Promise<BulkPreview> {
    return this.parts.database.call("count what a bulk action is about", async (session) => ({
      count: await countTargets(session, selection),
      sample: await firstTargets(session, selection, SAMPLE),
    }));
  }

  create(action: NewBulkAction): Promise<BulkCreateAnswer> {
    return this.parts.database.transaction(
      "make a bulk action",
      async (session, isRetry): Promise<BulkCreateAnswer> => {
        const { id, idempotency, at } = action;
        if (isRetry) {
          const done = await readAction(session, id);
          if (done !== null) return { ok: true, action: await countedAction(session, done), replayed: false };
        }
        const [seen] = idempotency === null ? [] : (await seenKeys(session, [idempotency], at)).values();
        if (seen !== undefined) {
          if (seen.requestHash !== idempotency?.requestHash) {
            return { ok: false, reason: "idempotency-mismatch" };
          }
          return { ok: true, action: await known(session, seen.ids[0] ?? ""), replayed: true };
        }
        const { seq, total } = await insertAction(session, action, MAX_BULK_ITEMS + 1);
        const refusal = await refusalOf(session, action, total);
        if (refusal !== null) {
          await deleteAction(session, seq);
          return refusal;
        }
        if (idempotency !== null) await keepKeys(session, [{ ...idempotency, ids: [id] }], at);
        return { ok: true, action: await known(session, id), replayed: false };
      },
    );
  }

  get(id: string): Promise<BulkAction | null> {
    return this.parts.database.call("read a bulk action", async (session) => {
      const action = await readAction(session, id);
      return action === null ? null : await countedAction(session, action);
    });
  }

  async list(limit: number, after: string | null): Promise<Page<BulkAction>> {
    const before = readKey(after);
    return await this.parts.database.call("list bulk actions", async (session) => {
      const rows = await listActions(session, limit + 1, before);
      const shown = rows.slice(0, limit);
      const counts = await countItems(session, shown.map((one) => one.seq));
      const last = shown.at(-1);
      return {
        items: shown.flatMap(({ seq, ...action }) => {
          const own = counts.get(seq);
          return own === undefined ? [] : [{ ...action, counts: own }];
        }),
        next: rows.length > limit && last !== undefined ? String(last.seq) : null,
      };
    });
  }

  command(
    id: string,
    command: BulkCommand,
    { by, at }: { readonly by: string; readonly at: number },
  ): Promise<BulkCommandAnswer> {
    return this.parts.database.transaction(
      `${command} a bulk action`,
      async (session): Promise<BulkCommandAnswer> => {
        const before = await readAction(session, id, "lock");
        if (before === null) return { ok: false, reason: "not-found" };
        const action = await countedAction(session, before);
        const commanded = afterCommand(action, command, { by, at });
        if (commanded === null) return { ok: false, reason: "ended", action };
        if (commanded === action) return { ok: true, action, isNew: false };
        await changeAction(session, { ...before, ...commanded }, isSettled(commanded));
        return { ok: true, action: commanded, isNew: true };
      },
    );
  }

  unsettled(limit: number): Promise<readonly string[]> {
    return this.parts.database.call("read bulk actions", (session) => unsettledActions(session, limit));
  }

  async step(epoch: number, request: BulkStepRequest): Promise<BulkStepAnswer> {
    const { database, epochs, partitions, terms } = this.parts;
    await partitions.ready([request.now]);
    const done = await database.transaction("do a step of a bulk action", async (session) => {
      if (!(await readFence(session, epoch)).isCurrent) return null;
      const action = await readAction(session, request.actionId, "lock");
      if (action === null) return { step: null, draft: null };
      const begun = new Begun();
      return { step: await this.#step(session, action, request, begun), draft: begun.draft };
    });
    if (done === null) {
      await epochs.countRefusedWrite(epoch);
      return { ok: false, reason: "stale-epoch" };
    }
    if (done.draft !== null) terms.keep(done.draft);
    return { ok: true, step: done.step };
  }

  async #step(
    session: Session,
    before: StoredAction,
    request: BulkStepRequest,
    begun: Begun,
  ): Promise<BulkStep> {
    const { seq } = before;
    const { now, most } = request;
    const ended = await noteEnded(session, before);
    const isRunning = before.state === "running";
    let action = await countedAction(session, before);
    const isCanary = before.canary && isRunning;
    const stop = isCanary ? whyStop(action.counts, await returnedError(session, seq)) : null;
    if (stop === null && isRunning) {
      const room = Math.min(most, mayBegin(action.counts, action.canary));
      const items = room > 0 ? await waitingItems(session, seq, now, room) : [];
      if (before.kind === "replay") await this.#replay(session, before, items, request, begun);
      else await this.#cancel(session, before, items, request, begun);
      await moveItems(session, seq, begun.changes);
      action = { ...action, counts: begun.counted(action.counts) };
    }
    const after = afterStep(action, stop, now);
    const isChanged = ended > 0 || begun.count > 0 || after.state !== before.state;
    if (isChanged || isSettled(after)) {
      const changedAt = isChanged ? now : before.changedAt;
      await changeAction(session, { ...before, ...after, changedAt }, isSettled(after));
    }
    const { messages, requested, record } = begun;
    return { action: after, begun: begun.count, isChanged, messages, requested, record };
  }

  async #replay(
    session: Session,
    action: StoredAction,
    items: readonly OccurrenceKey[],
    { now, occurrenceIds, defaultsOf }: BulkStepRequest,
    begun: Begun,
  ): Promise<void> {
    if (items.length === 0) return;
    const { force, reason, by, id: actionId } = action;
    const targets = items.map((item) => item.occurrenceId);
    const resolved = await resolvedSince(session, targets, action.createdAt);
    for (const target of targets) {
      if (!resolved.has(target)) continue;
      begun.changes.push({ target, state: "skipped", reason: "It has been resolved meanwhile" });
    }
    const replays = targets.filter((id) => !resolved.has(id)).flatMap((id, index) => {
      const occurrenceId = occurrenceIds[index];
      return occurrenceId === undefined
        ? []
        : { id, occurrenceId, at: now, jobData: null, force, reason, by, actionId, defaultsOf };
    });
    const { answers, draft } = await beginReplays(session, replays, this.parts.terms);
    begun.draft = draft;
    for (const [index, { id: target, occurrenceId }] of replays.entries()) {
      const answer = answers[index];
      if (answer === undefined) continue;
      if (answer.ok) {
        begun.changes.push({ target, state: "on", occurrenceId, scheduledFor: now });
        if (answer.message !== null) begun.messages.push(answer.message);
        continue;
      }
      const fate = itemOfReplay(answer);
      begun.changes.push({
        target,
        ...fate,
        ...(fate.state === "waiting" ? { notBefore: now + PUT_OFF_MS } : {}),
      });
    }
  }

  async #cancel(
    session: Session,
    action: StoredAction,
    items: readonly OccurrenceKey[],
    { now }: BulkStepRequest,
    begun: Begun,
  ): Promise<void> {
    if (items.length === 0) return;
    const { by, reason } = action;
    const { standing, record } = await this.parts.outcomes.cancelAll(session, items, {
      by,
      reason: reason ?? "no reason given",
      requestedAt: now,
    });
    begun.record = record;
    for (const [index, { occurrenceId: target }] of items.entries()) {
      const answer = standing[index];
      if (answer === undefined) continue;
      const change = { target, occurrenceId: target };
      if (!answer.ok) {
        const reason = answer.reason === "final" ? `It had ended as ${answer.status}` : "It is gone";
        begun.changes.push({ ...change, state: "skipped", reason });
      } else if (answer.state === "requested") {
        begun.requested.push({ occurrenceId: target, token: answer.token });
        begun.changes.push({ ...change, state: "on" });
      } else begun.changes.push({ ...change, state: "succeeded" });
    }
  }
}

/** What a step begins. */
class Begun {
  readonly changes: ItemChange[] = [];
  readonly messages: JobMessage[] = [];
  readonly requested: { readonly occurrenceId: string; readonly token: number }[] = [];
  record: RecordAnswer | null = null;
  draft: TermsDraft | null = null;

  get count(): number {
    return this.changes.filter((one) => one.state !== "waiting").length;
  }

  counted(before: BulkAction["counts"]): BulkAction["counts"] {
    const counts: Record<ItemState, number> = { ...before };
    for (const { state } of this.changes) {
      counts.waiting -= 1;
      counts[state] += 1;
    }
    return counts;
  }
}

async function known(session: Session, id: string): Promise<BulkAction> {
  const action = await readAction(session, id);
  if (action === null) throw new Error(`no bulk action ${id}`);
  return await countedAction(session, action);
}

/** Why an action over `count` items is not made, or null. */
async function refusalOf(
  session: Session,
  { selection, expectedCount }: NewBulkAction,
  count: number,
): Promise<BulkCreateAnswer | null> {
  if ("ids" in selection && count < selection.ids.length) {
    const there = new Set(await firstTargets(session, selection, selection.ids.length));
    return { ok: false, reason: "unknown", ids: selection.ids.filter((id) => !there.has(id)) };
  }
  const refusal = countRefusal(count, { isFilter: "filter" in selection, expectedCount });
  return refusal === null ? null : { ok: false, reason: refusal, count };
}

function readKey(key: string | null): number {
  if (key === null) return Number.MAX_SAFE_INTEGER;
  const seq = Number(key);
  if (!Number.isSafeInteger(seq)) throw new RangeError(`No page of this list begins after ${key}`);
  return seq;
}
