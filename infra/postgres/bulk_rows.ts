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
import type { Row, Session } from "./database.ts";
import { conditionsOf, held } from "./failed_rows.ts";
import {
  asText,
  asTime,
  asTimeOrNull,
  type Bindable,
  isUuid,
  millis,
  numbers,
  storable,
  texts,
  time,
  uuids,
} from "./literal.ts";
import type { OccurrenceKey } from "./occurrence_rows.ts";

const COLUMNS = `seq, id, kind, state, options, selection, total, state_reason, ${millis("created_at")},
  ${millis("changed_at")}, ${millis("ended_at")}`;

const WAITING = itemStateNumber("waiting");
const ON = itemStateNumber("on");
const SUCCEEDED = itemStateNumber("succeeded");
const FAILED = itemStateNumber("failed");
const SKIPPED = itemStateNumber("skipped");

const COMPLETED = statusNumber("Completed");
const CANCELLED = statusNumber("Cancelled");
const ENDED_BADLY = [statusNumber("Failed"), statusNumber("TimedOut")].join(", ");

/** What an item's end is, by its occurrence's. */
const END: Readonly<Record<BulkAction["kind"], string>> = {
  replay:
    `CASE WHEN o.status = ${COMPLETED} THEN ${SUCCEEDED} WHEN o.status IN (${ENDED_BADLY}) THEN ${FAILED}
    ELSE ${SKIPPED} END`,
  cancel: `CASE WHEN o.status = ${CANCELLED} THEN ${SUCCEEDED} ELSE ${SKIPPED} END`,
};

/** An action as its row says, without what is counted. */
export interface StoredAction extends Omit<BulkAction, "counts"> {
  readonly seq: number;
}

/** Where an item goes. */
export interface ItemChange {
  readonly target: string;
  readonly state: ItemState;
  readonly occurrenceId?: string | null;
  /** The occurrence's; null keeps what is there. */
  readonly scheduledFor?: number | null;
  readonly reason?: string | null;
  /** For one that goes on waiting: until when. */
  readonly notBefore?: number;
}

// ------------------------------------------------------------------------------------------------------ selecting

/** How many there are. */
export async function countTargets(session: Session, selection: BulkSelection): Promise<number> {
  const { from, values } = targetsOf(selection, []);
  const [row] = await session.rows(`SELECT count(*) FROM ${from}`, values);
  return Number(row?.[0]);
}

/** The first of them. */
export async function firstTargets(
  session: Session,
  selection: BulkSelection,
  limit: number,
): Promise<readonly string[]> {
  const { id, from, values, order } = targetsOf(selection, [limit]);
  const rows = await session.rows(
    `SELECT ${id} FROM ${from} ORDER BY ${order} LIMIT $1::bigint`,
    values,
  );
  return rows.map((row) => String(row[0]));
}

/** Writes the action with its items, `most` of them at most. Gives its number and how many there are. */
export async function insertAction(
  session: Session,
  action: NewBulkAction,
  most: number,
): Promise<{ readonly seq: number; readonly total: number }> {
  const { id, selection, at } = action;
  const [row] = await session.rows(
    `INSERT INTO bulk_actions (id, kind, state, options, selection, total, created_at, changed_at, is_settled)
     VALUES ($1::uuid, $2::text, 'running', $3::text, $4::text, 0, ${time("$5::float8")}, ${
      time("$5::float8")
    }, false)
     RETURNING seq`,
    [id, selection.kind, storable(optionsText(action)), storable(selectionText(selection)), at],
  );
  const seq = Number(row?.[0]);
  const { id: target, from, values, order, scheduledFor } = targetsOf(selection, [seq, most]);
  const [counted] = await session.rows(
    `WITH added AS (
       INSERT INTO bulk_items (action, target, position, state, not_before, scheduled_for)
       SELECT $1::bigint, ${target}, row_number() OVER (ORDER BY ${order}), ${WAITING}, 'epoch', ${scheduledFor}
         FROM ${from} ORDER BY ${order} LIMIT $2::bigint RETURNING 1
     ) SELECT count(*) FROM added`,
    values,
  );
  const total = Number(counted?.[0]);
  await session.rows("UPDATE bulk_actions SET total = $2::bigint WHERE seq = $1::bigint", [seq, total]);
  return { seq, total };
}

/** Takes back what `insertAction` wrote. */
export async function deleteAction(session: Session, seq: number): Promise<void> {
  await session.rows("DELETE FROM bulk_items WHERE action = $1::bigint", [seq]);
  await session.rows("DELETE FROM bulk_actions WHERE seq = $1::bigint", [seq]);
}

// -------------------------------------------------------------------------------------------------------- reading

/** Reads an action; with a lock it is held until the transaction ends. */
export async function readAction(
  session: Session,
  id: string,
  lock: "lock" | "no lock" = "no lock",
): Promise<StoredAction | null> {
  if (!isUuid(id)) return null;
  const [row] = await session.rows(
    `SELECT ${COLUMNS} FROM bulk_actions WHERE id = $1::uuid ${lock === "lock" ? "FOR NO KEY UPDATE" : ""}`,
    [id],
  );
  return row === undefined ? null : toAction(row);
}

export async function listActions(
  session: Session,
  limit: number,
  before: number,
): Promise<readonly StoredAction[]> {
  const rows = await session.rows(
    `SELECT ${COLUMNS} FROM bulk_actions WHERE seq < $1::bigint ORDER BY seq DESC LIMIT $2::bigint`,
    [before, limit],
  );
  return rows.map(toAction);
}

export async function unsettledActions(session: Session, limit: number): Promise<readonly string[]> {
  const rows = await session.rows(
    "SELECT id FROM bulk_actions WHERE NOT is_settled ORDER BY seq LIMIT $1::bigint",
    [limit],
  );
  return rows.map((row) => String(row[0]));
}

/** How many items of each action are in each state. */
export async function countItems(
  session: Session,
  seqs: readonly number[],
): Promise<ReadonlyMap<number, ItemCounts>> {
  const rows = await session.rows(
    `SELECT action, state, count(*) FROM bulk_items WHERE action = ANY($1::bigint[]) GROUP BY action, state`,
    [numbers(seqs)],
  );
  return new Map(seqs.map((seq) => [
    seq,
    countsOf(
      rows.filter((row) => Number(row[0]) === seq).map((row) => [Number(row[1]), Number(row[2])]),
    ),
  ]));
}

/** An action with its counts. */
export async function countedAction(session: Session, stored: StoredAction): Promise<BulkAction> {
  const { seq, ...action } = stored;
  const counts = (await countItems(session, [seq])).get(seq);
  if (counts === undefined) throw new Error(`no counts of bulk action ${action.id}`);
  return { ...action, counts };
}

/** Items that may be begun now, in their order. `scheduledFor` is the one's that is to be cancelled. */
export async function waitingItems(
  session: Session,
  seq: number,
  now: number,
  limit: number,
): Promise<readonly OccurrenceKey[]> {
  const rows = await session.rows(
    `SELECT target, ${millis("scheduled_for")} FROM bulk_items
      WHERE action = $1::bigint AND state = ${WAITING} AND not_before <= ${time("$2::float8")}
      ORDER BY position LIMIT $3::bigint`,
    [seq, now, limit],
  );
  return rows.map(([target, at]) => ({
    occurrenceId: String(target),
    scheduledFor: asTimeOrNull(at) ?? 0,
  }));
}

/** Of these failed occurrences, those that were resolved after a moment. */
export async function resolvedSince(
  session: Session,
  ids: readonly string[],
  since: number,
): Promise<ReadonlySet<string>> {
  const rows = await session.rows(
    `SELECT id FROM failed_occurrences WHERE id = ANY($1::uuid[]) AND resolved_at > ${time("$2::float8")}`,
    [uuids(ids), since],
  );
  return new Set(rows.map((row) => String(row[0])));
}

/** A replay that ended in the very error that was replayed, or null. */
export async function returnedError(session: Session, seq: number): Promise<
  { readonly occurrenceId: string; readonly fingerprint: string } | null
> {
  const [row] = await session.rows(
    `SELECT a.id, a.fingerprint FROM bulk_items i JOIN failed_occurrences b ON b.id = i.target
       JOIN failed_occurrences a ON a.id = i.occurrence_id
      WHERE i.action = $1::bigint AND i.state = ${FAILED} AND a.fingerprint = b.fingerprint LIMIT 1`,
    [seq],
  );
  return row === undefined ? null : { occurrenceId: String(row[0]), fingerprint: String(row[1]) };
}

// ------------------------------------------------------------------------------------------------------- changing

export async function changeAction(
  session: Session,
  action: StoredAction,
  isSettled: boolean,
): Promise<void> {
  const { seq, state, stateReason, changedAt, endedAt } = action;
  await session.rows(
    `UPDATE bulk_actions SET state = $2::text, state_reason = $3::text, changed_at = ${time("$4::float8")},
       ended_at = ${time("$5::float8")}, is_settled = $6::boolean WHERE seq = $1::bigint`,
    [seq, state, stateReason === null ? null : storable(stateReason), changedAt, endedAt, isSettled],
  );
}

/** Notes which of the begun items have ended. Gives how many. */
export async function noteEnded(session: Session, { seq, kind }: StoredAction): Promise<number> {
  const ended = await session.rows(
    `UPDATE bulk_items i SET state = ${END[kind]}, reason = o.reason FROM occurrences o
      WHERE i.action = $1::bigint AND i.state = ${ON} AND o.id = i.occurrence_id
        AND o.scheduled_for = i.scheduled_for AND o.ended_at IS NOT NULL RETURNING 1`,
    [seq],
  );
  const gone = await session.rows(
    `UPDATE bulk_items i SET state = ${SKIPPED}, reason = 'Its occurrence has been deleted'
      WHERE i.action = $1::bigint AND i.state = ${ON} AND NOT EXISTS (
        SELECT 1 FROM occurrences o WHERE o.id = i.occurrence_id AND o.scheduled_for = i.scheduled_for) RETURNING 1`,
    [seq],
  );
  return ended.length + gone.length;
}

export async function moveItems(
  session: Session,
  seq: number,
  changes: readonly ItemChange[],
): Promise<void> {
  if (changes.length === 0) return;
  await session.rows(
    `UPDATE bulk_items i SET state = u.state, occurrence_id = u.occurrence, reason = u.reason,
       scheduled_for = coalesce(${time("u.due")}, i.scheduled_for),
       not_before = coalesce(${time("u.not_before")}, i.not_before)
       FROM unnest($2::uuid[], $3::smallint[], $4::uuid[], $5::float8[], $6::text[], $7::float8[])
         AS u (target, state, occurrence, due, reason, not_before)
      WHERE i.action = $1::bigint AND i.target = u.target`,
    [
      seq,
      uuids(changes.map((one) => one.target)),
      numbers(changes.map((one) => itemStateNumber(one.state))),
      uuids(changes.map((one) => one.occurrenceId ?? null)),
      numbers(changes.map((one) => one.scheduledFor ?? null)),
      texts(changes.map((one) => one.reason ?? null)),
      numbers(changes.map((one) => one.notBefore ?? null)),
    ],
  );
}

// -------------------------------------------------------------------------------------------------------- private

interface Targets {
  /** The target's id. */
  readonly id: string;
  readonly from: string;
  /** Those given, then those of the filter. */
  readonly values: readonly Bindable[];
  /** Replays in the order in which they failed. Cancellations youngest first: the end of a run lets the next one go. */
  readonly order: string;
  /** Of the occurrence that is to end; none yet for a replay. */
  readonly scheduledFor: string;
}

function targetsOf(selection: BulkSelection, given: readonly Bindable[]): Targets {
  const among = (column: string, ids: readonly string[]) => ({
    where: `${column} = ANY($${given.length + 1}::uuid[])`,
    values: [...given, uuids(ids.filter(isUuid))],
  });
  if (selection.kind === "replay") {
    const { where, values } = "ids" in selection
      ? among("f.id", selection.ids)
      : conditionsOf(selection.filter, given);
    return {
      id: "f.id",
      from: `failed_occurrences f WHERE ${where}`,
      values,
      order: "f.failed_at, f.seq",
      scheduledFor: "NULL::timestamptz",
    };
  }
  const { where, values } = "ids" in selection
    ? among("o.id", selection.ids)
    : activeConditions(selection.filter, given);
  return {
    id: "o.id",
    from: `occurrences o JOIN terms t ON t.seq = o.terms WHERE o.ended_at IS NULL AND ${where}`,
    values,
    order: "o.scheduled_for DESC, o.seq DESC",
    scheduledFor: "o.scheduled_for",
  };
}

function activeConditions(filter: ActiveFilter, given: readonly Bindable[]): {
  readonly where: string;
  readonly values: readonly Bindable[];
} {
  const values = [...given];
  const bound = (value: Bindable) => `$${values.push(value)}`;
  const parts = ["true"];
  const { jobId, jobType, statuses, from, to } = filter;
  if (jobId !== undefined) {
    parts.push(isUuid(jobId) ? `o.job = (SELECT seq FROM jobs WHERE id = ${bound(jobId)}::uuid)` : "false");
  }
  if (jobType !== undefined) parts.push(`t.job_type = ${bound(storable(jobType))}::text`);
  if (statuses !== undefined) {
    parts.push(`o.status = ANY(${bound(numbers(statuses.map(statusNumber)))}::smallint[])`);
  }
  if (from !== undefined) parts.push(`o.scheduled_for >= ${time(`${bound(held(from))}::float8`)}`);
  if (to !== undefined) parts.push(`o.scheduled_for < ${time(`${bound(held(to))}::float8`)}`);
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
    stateReason: asText(row[7]),
    createdAt: asTime(row[8]),
    changedAt: asTime(row[9]),
    endedAt: asTimeOrNull(row[10]),
  };
}
