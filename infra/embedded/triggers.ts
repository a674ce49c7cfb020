/** Triggers: occurrences that a person or program asked for, each request once by its idempotency key. */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import type { Database, Statement } from "./database.ts";
import type { JobHold } from "./job_hold.ts";
import type { JobRows } from "./job_rows.ts";
import type { NewOccurrences } from "./new_occurrences.ts";
import type { TermsBook } from "./terms.ts";

/** How long a key is remembered. */
const KEY_LIFETIME_MS = 24 * 60 * 60 * 1000;
/** Old keys deleted on the way of each new one: more than one, so that the table shrinks. */
const PURGED_AT_ONCE = 10;

export class Triggers {
  readonly #findKey: Statement;
  readonly #keepKey: Statement;
  readonly #purgeKeys: Statement;

  constructor(
    database: Database,
    private readonly jobs: JobRows,
    private readonly hold: JobHold,
    private readonly occurrences: NewOccurrences,
    private readonly terms: TermsBook,
  ) {
    this.#findKey = database.prepare(
      "SELECT request_hash, occurrence_ids FROM idempotency WHERE key = ? AND created_at > ?",
    );
    this.#keepKey = database.prepare(
      `INSERT INTO idempotency (key, request_hash, created_at, occurrence_ids) VALUES (?, ?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash, created_at = excluded.created_at,
           occurrence_ids = excluded.occurrence_ids`,
    );
    this.#purgeKeys = database.prepare(
      `DELETE FROM idempotency WHERE key IN
         (SELECT key FROM idempotency WHERE created_at <= ? ORDER BY created_at LIMIT ${PURGED_AT_ONCE})`,
    );
  }

  /**
   * Inside a transaction. Under Skip the whole request is refused while a run is on; when none is, the first item
   * runs and the others are Skipped because of it, so that each id in the answer can be looked up.
   */
  trigger(request: TriggerRequest): TriggerAnswer {
    const { jobId, at, items, force, idempotency } = request;
    if (idempotency !== null) {
      const seen = this.#findKey.row(idempotency.key, at - KEY_LIFETIME_MS);
      if (seen !== undefined) {
        return seen[0] === idempotency.requestHash
          ? { ok: true, occurrenceIds: JSON.parse(String(seen[1])), messages: [], replayed: true }
          : { ok: false, reason: "idempotency-mismatch" };
      }
    }
    const job = this.jobs.standing(jobId);
    if (job === null) return { ok: false, reason: "not-found" };
    if (!job.definition.isActive) return { ok: false, reason: "disabled" };
    if (job.definition.concurrentExecutionPolicy === "Skip" && !force) {
      const holder = this.hold.holder(job.seq);
      if (holder !== null) return { ok: false, reason: "overlap", occurrenceId: holder.id };
    }
    const terms = this.terms.of(job, request.defaults);
    const reason = `Triggered by ${request.by}` + (request.reason === null ? "" : `: ${request.reason}`);
    const messages: JobMessage[] = [];
    for (const item of items) {
      const added = this.occurrences.add({
        id: item.occurrenceId,
        job,
        terms,
        origin: "trigger",
        scheduledFor: at,
        createdAt: at,
        jobData: item.jobData,
        reason,
        isForced: force,
      });
      if (added.kind === "run") messages.push(added.message);
    }
    const occurrenceIds = items.map((item) => item.occurrenceId);
    if (idempotency !== null) {
      this.#purgeKeys.execute(at - KEY_LIFETIME_MS);
      this.#keepKey.execute(idempotency.key, idempotency.requestHash, at, JSON.stringify(occurrenceIds));
    }
    return { ok: true, occurrenceIds, messages, replayed: false };
  }
}
