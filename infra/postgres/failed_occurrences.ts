/** Dead letters: read, resolved, replayed. */
import { countRefusal, MAX_BULK_ITEMS } from "../../actors/domain/bulk_action.ts";
import type { FailedOccurrence, FailureKind, Resolution } from "../../actors/domain/failed_occurrence.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import type {
  FailedDetail,
  FailedFilter,
  FailedGroup,
  FailedOccurrences,
  ReplayAnswer,
  ReplayRequest,
  ResolveAnswer,
  ResolveManyAnswer,
  ResolveSelection,
} from "../../actors/ports/failed_occurrences.ts";
import type { Page } from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import {
  countResolvedAs,
  countUnresolved,
  groupFailed,
  listFailed,
  lockFailed,
  lockOpen,
  readFailed,
  readGroupKey,
  readListKey,
  replayOf,
  replaysOf,
  resolveFailed,
  resolveLocked,
} from "./failed_rows.ts";
import { keepKeys, seenKeys } from "./idempotency_keys.ts";
import { type JobMessages, MESSAGE_COLUMNS } from "./job_messages.ts";
import { isUuid } from "./literal.ts";
import type { Partitions } from "./partitions.ts";
import { beginReplays } from "./replays.ts";
import type { TermsBook, TermsDraft } from "./terms.ts";

export interface FailedParts {
  readonly database: Database;
  readonly partitions: Partitions;
  readonly terms: TermsBook;
  readonly messages: JobMessages;
}

export class PostgresFailedOccurrences implements FailedOccurrences {
  constructor(private readonly parts: FailedParts) {}

  async list(filter: FailedFilter, limit: number, after: string | null): Promise<Page<FailedOccurrence>> {
    const key = readListKey(after);
    return await this.#read("list failed occurrences", (session) => listFailed(session, filter, limit, key));
  }

  async groups(filter: FailedFilter, limit: number, after: string | null): Promise<Page<FailedGroup>> {
    const key = readGroupKey(after);
    return await this.#read(
      "group failed occurrences",
      (session) => groupFailed(session, filter, limit, key),
    );
  }

  async get(id: string): Promise<FailedDetail | null> {
    if (!isUuid(id)) return null;
    return await this.#read("read a failed occurrence", async (session): Promise<FailedDetail | null> => {
      const found = await readFailed(session, id);
      if (found === null) return null;
      return { ...found, replayOf: await replayOf(session, id), replays: await replaysOf(session, id) };
    });
  }

  unresolved(): Promise<Readonly<Record<FailureKind, number>>> {
    return this.#read("count failed occurrences", countUnresolved);
  }

  resolve(id: string, resolution: Resolution): Promise<ResolveAnswer> {
    return this.#change("resolve a failed occurrence", id, async (session, failed) => {
      const current = failed.resolution;
      if (current === null) {
        await resolveFailed(session, id, resolution);
        return { ok: true, isNew: true, failed: { ...failed, resolution } };
      }
      return current.action === resolution.action && current.note === resolution.note
        ? { ok: true, isNew: false, failed }
        : { ok: false, reason: "resolved", current };
    });
  }

  resolveMany(
    selection: ResolveSelection,
    resolution: Resolution,
    expectedCount: number | null,
  ): Promise<ResolveManyAnswer> {
    return this.parts.database.transaction(
      "resolve failed occurrences",
      async (session, isRetry): Promise<ResolveManyAnswer> => {
        if (isRetry) {
          const done = await countResolvedAs(session, resolution);
          if (done > 0) return { ok: true, count: done };
        }
        const open = await lockOpen(session, selection, MAX_BULK_ITEMS + 1);
        const count = open.length;
        const refusal = countRefusal(count, { isFilter: "filter" in selection, expectedCount });
        if (refusal !== null) return { ok: false, reason: refusal, count };
        await resolveLocked(session, open, resolution);
        return { ok: true, count };
      },
    );
  }

  reopen(id: string): Promise<ResolveAnswer> {
    return this.#change("reopen a failed occurrence", id, async (session, failed) => {
      if (failed.resolution === null) return { ok: true, isNew: false, failed };
      await resolveFailed(session, id, null);
      return { ok: true, isNew: true, failed: { ...failed, resolution: null } };
    });
  }

  async replay(request: ReplayRequest): Promise<ReplayAnswer> {
    if (!isUuid(request.id)) return { ok: false, reason: "not-found" };
    const { database, partitions, terms } = this.parts;
    await partitions.ready([request.at]);
    const { answer, draft } = await database.transaction(
      "replay a failed occurrence",
      (session, isRetry) => this.#replay(session, request, isRetry),
    );
    if (draft !== null) terms.keep(draft);
    return answer;
  }

  async #replay(
    session: Session,
    request: ReplayRequest,
    isRetry: boolean,
  ): Promise<{ readonly answer: ReplayAnswer; readonly draft: TermsDraft | null }> {
    const { idempotency, at, occurrenceId } = request;
    if (isRetry) {
      const messages = await this.#begunBefore(session, occurrenceId);
      if (messages !== null) {
        return { answer: await answered(session, request, { occurrenceId, messages }), draft: null };
      }
    }
    const [seen] = idempotency === null ? [] : (await seenKeys(session, [idempotency], at)).values();
    if (seen !== undefined) {
      if (seen.requestHash !== idempotency?.requestHash) {
        return { answer: { ok: false, reason: "idempotency-mismatch" }, draft: null };
      }
      const known = { occurrenceId: seen.ids[0] ?? "", messages: null };
      return { answer: await answered(session, request, known), draft: null };
    }
    const begun = await beginReplays(session, [{ ...request, actionId: null }], this.parts.terms);
    const [one] = begun.answers;
    if (one === undefined) throw new Error(`no answer for ${request.id}`);
    if (!one.ok) return { answer: one, draft: begun.draft };
    if (idempotency !== null) await keepKeys(session, [{ ...idempotency, ids: [occurrenceId] }], at);
    const { jobId, jobType, message } = one;
    const messages = message === null ? [] : [message];
    return {
      answer: { ok: true, occurrenceId, jobId, jobType, messages, replayed: false },
      draft: begun.draft,
    };
  }

  /** The messages of what a first try that may have committed began; null when it did not. */
  async #begunBefore(session: Session, occurrenceId: string): Promise<readonly JobMessage[] | null> {
    const rows = await session.rows(
      `SELECT ${MESSAGE_COLUMNS}, o.status = 0 AND o.ready_at IS NOT NULL FROM occurrences o WHERE o.id = $1::uuid`,
      [occurrenceId],
    );
    if (rows.length === 0) return null;
    return await this.parts.messages.of(session, rows.filter((row) => row[7] === true));
  }

  #read<T>(action: string, work: (session: Session) => Promise<T>): Promise<T> {
    return this.parts.database.call(action, work);
  }

  async #change(
    action: string,
    id: string,
    work: (session: Session, failed: FailedOccurrence) => Promise<ResolveAnswer>,
  ): Promise<ResolveAnswer> {
    if (!isUuid(id)) return { ok: false, reason: "not-found" };
    return await this.parts.database.transaction(action, async (session): Promise<ResolveAnswer> => {
      const failed = await lockFailed(session, id);
      return failed === null ? { ok: false, reason: "not-found" } : await work(session, failed);
    });
  }
}

/** The answer for a replay that is there already; `messages` null when an earlier request with the key made it. */
async function answered(
  session: Session,
  { id }: ReplayRequest,
  { occurrenceId, messages }: {
    readonly occurrenceId: string;
    readonly messages: readonly JobMessage[] | null;
  },
): Promise<ReplayAnswer> {
  const found = await readFailed(session, id);
  if (found === null) return { ok: false, reason: "not-found" };
  const { jobId, jobType } = found.failed;
  return { ok: true, occurrenceId, jobId, jobType, messages: messages ?? [], replayed: messages === null };
}
