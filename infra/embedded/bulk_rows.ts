/** Rows of `bulk_actions` and `bulk_items`. */
import {
  type BulkAction,
  type BulkOptions,
  type BulkState,
  countsOf,
  type ItemCounts,
  type ItemState,
  itemStateNumber,
  optionsText,
} from "../../actors/domain/bulk_action.ts";
import { statusNumber } from "../../actors/domain/occurrence.ts";
import {
  type ActiveFilter,
  type BulkSelection,
  type NewBulkAction,
  selectionText,
} from "../../actors/ports/bulk_actions.ts";
import type { Page } from "../../actors/ports/store.ts";
import type { Bindable, Database, Row, Statement } from "./database.ts";
import { conditionsOf } from "./failed_rows.ts";

const COLUMNS =
  "seq, id, kind, state, options, selection, total, state_reason, created_at, changed_at, ended_at";

const WAITING = itemStateNumber("waiting");
const ON = itemStateNumber("on");
const FAILED = itemStateNumber("failed");

const COMPLETED = statusNumber("Completed");
const CANCELLED = statusNumber("Cancelled");
const ENDED_BADLY = [statusNumber("Failed"), statusNumber("TimedOut")].join(", ");

/** An action as its row says, without what is counted. */
export interface StoredAction extends Omit<BulkAction, "counts"> {
  readonly seq: number;
}

/** Where an item goes. */
export interface ItemChange {
  readonly state: ItemState;
  readonly occurrenceId?: string | null;
  readonly scheduledFor?: number | null;
  readonly reason?: string | null;
}

export class BulkRows {
  readonly #insert: Statement;
  readonly #get: Statement;
  readonly #list: Statement;
  readonly #unsettled: Statement;
  readonly #counts: Statement;
  readonly #change: Statement;
  readonly #waiting: Statement;
  readonly #moveItem: Statement;
  readonly #putOff: Statement;
  readonly #noteEnded: Readonly<Record<BulkAction["kind"], Statement>>;
  readonly #noteGone: Statement;
  readonly #returned: Statement;

  constructor(private readonly database: Database) {
    const prepare = (sql: string) => database.prepare(sql);
    this.#insert = prepare(
      `INSERT INTO bulk_actions (id, kind, state, options, selection, total, created_at, changed_at, is_settled)
       VALUES (?, ?, 'running', ?, ?, ?, ?, ?, 0) RETURNING seq`,
    );
    this.#get = prepare(`SELECT ${COLUMNS} FROM bulk_actions WHERE id = ?`);
    this.#list = prepare(`SELECT ${COLUMNS} FROM bulk_actions WHERE seq < ? ORDER BY seq DESC LIMIT ?`);
    this.#unsettled = prepare("SELECT id FROM bulk_actions WHERE is_settled = 0 ORDER BY seq LIMIT ?");
    this.#counts = prepare("SELECT state, count(*) FROM bulk_items WHERE action = ? GROUP BY state");
    this.#change = prepare(
      `UPDATE bulk_actions SET state = ?, state_reason = ?, changed_at = ?, ended_at = ?, is_settled = ?
        WHERE seq = ?`,
    );
    this.#waiting = prepare(
      `SELECT target FROM bulk_items WHERE action = ? AND state = ${WAITING} AND not_before <= ?
        ORDER BY position LIMIT ?`,
    );
    this.#moveItem = prepare(
      `UPDATE bulk_items SET state = ?, occurrence_id = ?, scheduled_for = ?, reason = ?
        WHERE action = ? AND target = ?`,
    );
    this.#putOff = prepare(
      "UPDATE bulk_items SET not_before = ?, reason = ? WHERE action = ? AND target = ?",
    );
    const noteEnded = (state: string) =>
      prepare(
        `UPDATE bulk_items AS i SET state = ${state}, reason = o.reason FROM occurrences o
          WHERE i.action = ? AND i.state = ${ON} AND o.id = i.occurrence_id AND o.ended_at IS NOT NULL`,
      );
    const [succeeded, skipped] = [itemStateNumber("succeeded"), itemStateNumber("skipped")];
    this.#noteEnded = {
      replay: noteEnded(
        `CASE WHEN o.status = ${COMPLETED} THEN ${succeeded} WHEN o.status IN (${ENDED_BADLY}) THEN ${FAILED}
           ELSE ${skipped} END`,
      ),
      cancel: noteEnded(`CASE WHEN o.status = ${CANCELLED} THEN ${succeeded} ELSE ${skipped} END`),
    };
    this.#noteGone = prepare(
      `UPDATE bulk_items AS i SET state = ${skipped}, reason = 'Its occurrence has been deleted'
        WHERE i.action = ? AND i.state = ${ON} AND NOT EXISTS (SELECT 1 FROM occurrences o WHERE o.id = i.occurrence_id)`,
    );
    this.#returned = prepare(
      `SELECT after.id, after.fingerprint FROM bulk_items i
         JOIN failed_occurrences before ON before.id = i.target
         JOIN failed_occurrences after ON after.id = i.occurrence_id
        WHERE i.action = ? AND i.state = ${FAILED} AND after.fingerprint = before.fingerprint LIMIT 1`,
    );
  }

  // -------------------------------------------------------------------------------------------------- selecting

  /** How many there are, counted up to one more than `most`. */
  count(selection: BulkSelection, most: number): number {
    const { from, values } = targetsOf(selection);
    const row = this.database.prepare(`SELECT count(*) FROM (SELECT 1 FROM ${from} LIMIT ?)`)
      .row(...values, most + 1);
    return Number(row?.[0]);
  }

  /** The first of them. */
  first(selection: BulkSelection, limit: number): readonly string[] {
    const { id, from, values, order } = targetsOf(selection);
    return this.database.prepare(`SELECT ${id} FROM ${from} ORDER BY ${order} LIMIT ?`)
      .rows(...values, limit).map((row) => String(row[0]));
  }

  /** Writes the action with its items; `total` of them. */
  insert(action: NewBulkAction, total: number): void {
    const { id, selection, at } = action;
    const row = this.#insert.row(
      id,
      selection.kind,
      optionsText(action),
      selectionText(selection),
      total,
      at,
      at,
    );
    const seq = Number(row?.[0]);
    const { id: target, from, values, order } = targetsOf(selection);
    this.database.prepare(
      `INSERT INTO bulk_items (action, target, position, state, not_before)
       SELECT ${seq}, ${target}, row_number() OVER (ORDER BY ${order}), ${WAITING}, 0 FROM ${from}`,
    ).execute(...values);
  }

  // ---------------------------------------------------------------------------------------------------- reading

  get(id: string): StoredAction | null {
    const row = this.#get.row(id);
    return row === undefined ? null : toAction(row);
  }

  list(limit: number, after: string | null): Page<BulkAction> {
    const rows = this.#list.rows(readKey(after), limit + 1).map(toAction);
    const items = rows.slice(0, limit);
    const last = items.at(-1);
    return {
      items: items.map((one) => this.counted(one)),
      next: rows.length > limit && last !== undefined ? String(last.seq) : null,
    };
  }

  unsettled(limit: number): readonly string[] {
    return this.#unsettled.rows(limit).map((row) => String(row[0]));
  }

  counts(seq: number): ItemCounts {
    return countsOf(this.#counts.rows(seq).map(([state, count]) => [Number(state), Number(count)]));
  }

  counted({ seq, ...action }: StoredAction): BulkAction {
    return { ...action, counts: this.counts(seq) };
  }

  /** Items that may be begun now, in their order. */
  waiting(seq: number, now: number, limit: number): readonly string[] {
    return this.#waiting.rows(seq, now, limit).map((row) => String(row[0]));
  }

  /** A replay that ended in the very error that was replayed, or null. */
  returned(seq: number): { readonly occurrenceId: string; readonly fingerprint: string } | null {
    const row = this.#returned.row(seq);
    return row === undefined ? null : { occurrenceId: String(row[0]), fingerprint: String(row[1]) };
  }

  // --------------------------------------------------------------------------------------------------- changing

  change(action: StoredAction, isSettled: boolean): void {
    const { state, stateReason, changedAt, endedAt, seq } = action;
    this.#change.execute(state, stateReason, changedAt, endedAt, isSettled ? 1 : 0, seq);
  }

  /** Notes which of the begun items have ended. Gives how many. */
  noteEnded({ seq, kind }: StoredAction): number {
    return this.#noteEnded[kind].change(seq) + this.#noteGone.change(seq);
  }

  moveItem(seq: number, target: string, change: ItemChange): void {
    const { state, occurrenceId = null, scheduledFor = null, reason = null } = change;
    this.#moveItem.execute(itemStateNumber(state), occurrenceId, scheduledFor, reason, seq, target);
  }

  putOff(seq: number, target: string, until: number, reason: string): void {
    this.#putOff.execute(until, reason, seq, target);
  }
}

interface Targets {
  /** The target's id. */
  readonly id: string;
  readonly from: string;
  readonly values: readonly Bindable[];
  /** Replays in the order in which they failed. Cancellations youngest first: the end of a run lets the next one go. */
  readonly order: string;
}

function targetsOf(selection: BulkSelection): Targets {
  const ids = "ids" in selection ? JSON.stringify(selection.ids) : null;
  if (selection.kind === "replay") {
    const { where, values } = "filter" in selection ? conditionsOf(selection.filter) : among("f.id", ids);
    return { id: "f.id", from: `failed_occurrences f WHERE ${where}`, values, order: "f.failed_at, f.seq" };
  }
  const { where, values } = "filter" in selection ? activeConditions(selection.filter) : among("o.id", ids);
  return {
    id: "o.id",
    from: `occurrences o JOIN terms t ON t.seq = o.terms WHERE o.ended_at IS NULL AND ${where}`,
    values,
    order: "o.scheduled_for DESC, o.seq DESC",
  };
}

const among = (column: string, ids: string | null) => ({
  where: `${column} IN (SELECT value FROM json_each(?))`,
  values: [ids ?? "[]"],
});

function activeConditions(filter: ActiveFilter): {
  readonly where: string;
  readonly values: readonly Bindable[];
} {
  const parts: string[] = ["1 = 1"];
  const values: Bindable[] = [];
  const add = (sql: string, ...bound: Bindable[]) => {
    parts.push(sql);
    values.push(...bound);
  };
  if (filter.jobId !== undefined) add("o.job = (SELECT seq FROM jobs WHERE id = ?)", filter.jobId);
  if (filter.jobType !== undefined) add("t.job_type = ?", filter.jobType);
  if (filter.statuses !== undefined) {
    add(`o.status IN (${filter.statuses.map(() => "?").join()})`, ...filter.statuses.map(statusNumber));
  }
  if (filter.from !== undefined) add("o.scheduled_for >= ?", filter.from);
  if (filter.to !== undefined) add("o.scheduled_for < ?", filter.to);
  return { where: parts.join(" AND "), values };
}

function toAction(row: Row): StoredAction {
  return {
    seq: Number(row[0]),
    id: String(row[1]),
    kind: row[2] as BulkAction["kind"],
    state: row[3] as BulkState,
    ...JSON.parse(String(row[4])) as BulkOptions,
    selection: String(row[5]),
    total: Number(row[6]),
    stateReason: typeof row[7] === "string" ? row[7] : null,
    createdAt: Number(row[8]),
    changedAt: Number(row[9]),
    endedAt: typeof row[10] === "number" ? row[10] : null,
  };
}

function readKey(key: string | null): number {
  if (key === null) return Number.MAX_SAFE_INTEGER;
  const seq = Number(key);
  if (!Number.isSafeInteger(seq)) throw new RangeError(`No page of this list begins after ${key}`);
  return seq;
}
