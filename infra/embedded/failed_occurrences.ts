/** Dead letters: read, resolved, replayed. */
import { countRefusal, MAX_BULK_ITEMS } from "../../actors/domain/bulk_action.ts";
import type { FailedOccurrence, FailureKind, Resolution } from "../../actors/domain/failed_occurrence.ts";
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
import type { FailedRows } from "./failed_rows.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { IdempotencyKeys } from "./idempotency_keys.ts";
import type { Replays } from "./replays.ts";

export class EmbeddedFailedOccurrences implements FailedOccurrences {
  constructor(
    private readonly group: GroupCommit,
    private readonly rows: FailedRows,
    private readonly replays: Replays,
    private readonly keys: IdempotencyKeys,
  ) {}

  list(filter: FailedFilter, limit: number, after: string | null): Promise<Page<FailedOccurrence>> {
    return this.group.read(() => this.rows.list(filter, limit, after));
  }

  groups(filter: FailedFilter, limit: number, after: string | null): Promise<Page<FailedGroup>> {
    return this.group.read(() => this.rows.groups(filter, limit, after));
  }

  get(id: string): Promise<FailedDetail | null> {
    return this.group.read((): FailedDetail | null => {
      const failed = this.rows.get(id);
      if (failed === null) return null;
      const { jobData, lastOutput } = this.rows.detail(id);
      return {
        failed,
        jobData,
        lastOutput: lastOutput === null ? [] : JSON.parse(lastOutput),
        replayOf: this.rows.replayOf(id),
        replays: this.rows.replays(id),
      };
    });
  }

  unresolved(): Promise<Readonly<Record<FailureKind, number>>> {
    return this.group.read(() => this.rows.unresolved());
  }

  resolve(id: string, resolution: Resolution): Promise<ResolveAnswer> {
    return this.group.write((): ResolveAnswer => {
      const failed = this.rows.get(id);
      if (failed === null) return { ok: false, reason: "not-found" };
      const current = failed.resolution;
      if (current === null) {
        this.rows.resolve(id, resolution);
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
    return this.group.write((): ResolveManyAnswer => {
      const count = this.rows.countOpen(selection, MAX_BULK_ITEMS + 1);
      const refusal = countRefusal(count, { isFilter: "filter" in selection, expectedCount });
      if (refusal !== null) return { ok: false, reason: refusal, count };
      this.rows.resolveOpen(selection, resolution);
      return { ok: true, count };
    });
  }

  reopen(id: string): Promise<ResolveAnswer> {
    return this.group.write((): ResolveAnswer => {
      const failed = this.rows.get(id);
      if (failed === null) return { ok: false, reason: "not-found" };
      if (failed.resolution === null) return { ok: true, isNew: false, failed };
      this.rows.resolve(id, null);
      return { ok: true, isNew: true, failed: { ...failed, resolution: null } };
    });
  }

  replay(request: ReplayRequest): Promise<ReplayAnswer> {
    return this.group.write((): ReplayAnswer => {
      const { idempotency, at } = request;
      const seen = this.keys.find(idempotency, at);
      if (seen === "mismatch") return { ok: false, reason: "idempotency-mismatch" };
      if (seen !== null) return this.#seen(request, seen);
      const begun = this.replays.begin({ ...request, actionId: null });
      if (!begun.ok) return begun;
      this.keys.keep(idempotency, at, [request.occurrenceId]);
      const { jobId, jobType, message } = begun;
      const messages = message === null ? [] : [message];
      return { ok: true, occurrenceId: request.occurrenceId, jobId, jobType, messages, replayed: false };
    });
  }

  #seen({ id }: ReplayRequest, [occurrenceId = ""]: readonly string[]): ReplayAnswer {
    const failed = this.rows.get(id);
    if (failed === null) return { ok: false, reason: "not-found" };
    const { jobId, jobType } = failed;
    return { ok: true, occurrenceId, jobId, jobType, messages: [], replayed: true };
  }
}
