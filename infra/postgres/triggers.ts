/**
 * Triggers: occurrences that a person or program asked for, each request once by its idempotency key.
 *
 * Triggers of many callers go together. Jobs of policy Allow are only held against change (`share`), so that any
 * number of instances create runs of one job at a time; Skip and Queue are decided under the job's own lock. Which of
 * the two a job needs is remembered, and found out under the lock: a wrong memory costs a second transaction.
 */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import { Gather } from "./gather.ts";
import { JobMessages, MESSAGE_COLUMNS, messageOf } from "./job_messages.ts";
import { readHolds } from "./job_holds.ts";
import { type JobLock, type JobStanding, lockJobs } from "./job_rows.ts";
import { numbers, storable, texts, time, uuids } from "./literal.ts";
import { Admissions, insertOccurrences, type Planned, triggerReason } from "./new_occurrences.ts";
import type { Partitions } from "./partitions.ts";
import { keyOf, type TermsBook, type TermsDraft } from "./terms.ts";

/** How long a key is remembered. */
const KEY_LIFETIME_MS = 24 * 60 * 60 * 1000;
/** Old keys deleted on the way of each new one: more than one, so that the table shrinks. */
const PURGED_AT_ONCE = 10;
/** Most occurrences in one transaction of several triggers. */
const GATHERED_AT_MOST = 1000;
/** Jobs whose policy is remembered. */
const KNOWN_AT_MOST = 100_000;

export class Triggers {
  readonly #allowing = new Set<string>();
  readonly #shared: Gather<TriggerRequest, TriggerAnswer | "own">;
  readonly #owned: Gather<TriggerRequest, TriggerAnswer | "own">;

  constructor(
    private readonly database: Database,
    private readonly partitions: Partitions,
    private readonly terms: TermsBook,
    private readonly messages: JobMessages,
  ) {
    const gather = (lock: JobLock) =>
      new Gather<TriggerRequest, TriggerAnswer | "own">({
        run: (requests) => this.#run(requests, lock),
        weigh: (request) => request.items.length,
        most: GATHERED_AT_MOST,
        lanes: lock === "share" ? 2 : 1,
      });
    this.#shared = gather("share");
    this.#owned = gather("own");
  }

  /**
   * Under Skip the whole request is refused while a run is on; when none is, the first item runs and the others are
   * Skipped because of it, so that each id in the answer can be looked up.
   */
  async trigger(request: TriggerRequest): Promise<TriggerAnswer> {
    if (this.#allowing.has(request.jobId)) {
      const answer = await this.#shared.add(request);
      if (answer !== "own") return answer;
      this.#allowing.delete(request.jobId);
    }
    const answer = await this.#owned.add(request);
    if (answer === "own") throw new Error(`Cannot trigger job ${request.jobId}: its lock was not enough`);
    return answer;
  }

  async #run(
    requests: readonly TriggerRequest[],
    lock: JobLock,
  ): Promise<readonly (TriggerAnswer | "own")[]> {
    await this.partitions.ready(requests.map((request) => request.at));
    const done = await this.database.transaction("trigger", async (session, isRetry) => {
      const batch = new TriggerBatch(requests, lock);
      if (isRetry) await batch.findDone(session, this.messages);
      await batch.findKeys(session);
      await batch.lock(session);
      const draft = await this.terms.of(session, batch.wanted());
      await batch.create(session, draft, this.terms);
      return { batch, draft };
    });
    this.terms.keep(done.draft);
    for (const job of done.batch.allowing()) {
      if (this.#allowing.size >= KNOWN_AT_MOST) this.#allowing.clear();
      this.#allowing.add(job);
    }
    return done.batch.answers();
  }
}

/** The triggers of one transaction. */
class TriggerBatch {
  readonly #answers: (TriggerAnswer | "own" | null)[];
  #jobs: ReadonlyMap<string, JobStanding> = new Map();

  constructor(private readonly requests: readonly TriggerRequest[], private readonly jobLock: JobLock) {
    this.#answers = requests.map(() => null);
  }

  /** What a first try that may have committed did: its ids are there. */
  async findDone(session: Session, messages: JobMessages): Promise<void> {
    const ids = this.requests.flatMap((request) => request.items.map((item) => item.occurrenceId));
    const rows = await session.rows(
      `SELECT ${MESSAGE_COLUMNS}, o.status = 0 AND o.ready_at IS NOT NULL FROM occurrences o
        WHERE o.id = ANY($1::uuid[])`,
      [uuids(ids)],
    );
    if (rows.length === 0) return;
    const there = new Set(rows.map((row) => String(row[1])));
    const ready = await messages.of(session, rows.filter((row) => row[7] === true));
    for (const [index, { items }] of this.requests.entries()) {
      const occurrenceIds = items.map((item) => item.occurrenceId);
      if (items.length === 0 || !occurrenceIds.every((id) => there.has(id))) continue;
      const own = new Set(occurrenceIds);
      this.#answers[index] = {
        ok: true,
        occurrenceIds,
        messages: ready.filter((message) => own.has(message.occurrenceId)),
        replayed: false,
      };
    }
  }

  /** Answers requests whose key was seen before. Of two with one key, the second waits for the first to commit. */
  async findKeys(session: Session): Promise<void> {
    const keys = [
      ...new Set(
        this.requests.flatMap(({ idempotency }) => idempotency === null ? [] : storable(idempotency.key)),
      ),
    ].sort();
    if (keys.length === 0) return;
    await session.rows(
      `SELECT pg_advisory_xact_lock(k.hash) FROM (SELECT hashtextextended(u.key, 0) AS hash
         FROM unnest($1::text[]) AS u (key) ORDER BY 1) AS k`,
      [texts(keys)],
    );
    const oldest = Math.min(...this.requests.map((request) => request.at)) - KEY_LIFETIME_MS;
    const rows = await session.rows(
      `SELECT key, request_hash, occurrence_ids FROM idempotency
        WHERE key = ANY($1::text[]) AND created_at > ${time("$2::float8")}`,
      [texts(keys), oldest],
    );
    const seen = new Map(rows.map((row) => [String(row[0]), row]));
    for (const [index, { idempotency }] of this.requests.entries()) {
      const row = idempotency === null ? undefined : seen.get(storable(idempotency.key));
      if (row === undefined || this.#answers[index] !== null) continue;
      this.#answers[index] = row[1] === idempotency?.requestHash
        ? { ok: true, occurrenceIds: JSON.parse(String(row[2])), messages: [], replayed: true }
        : { ok: false, reason: "idempotency-mismatch" };
    }
  }

  async lock(session: Session): Promise<void> {
    const open = this.#open();
    if (open.length > 0) {
      this.#jobs = await lockJobs(
        session,
        open.map(({ request }) => request.jobId),
        this.jobLock,
      );
    }
    for (const { request, index } of open) {
      const job = this.#jobs.get(request.jobId);
      if (job === undefined) this.#answers[index] = { ok: false, reason: "not-found" };
      else if (!job.definition.isActive) this.#answers[index] = { ok: false, reason: "disabled" };
      else if (this.jobLock === "share" && !isAllowing(job)) this.#answers[index] = "own";
    }
  }

  wanted() {
    return this.#open().map(({ request, job }) => ({ job, defaults: request.defaults }));
  }

  async create(session: Session, draft: TermsDraft, book: TermsBook): Promise<void> {
    const open = this.#open();
    const held = new Set(open.filter(({ job }) => !isAllowing(job)).map(({ job }) => job.seq));
    const admissions = new Admissions(await readHolds(session, [...held]));
    const payloads = await book.payloads(session, draft.found.values());
    const planned: Planned[] = [];
    const answered = new Map<string, { readonly hash: string; readonly answer: TriggerAnswer }>();
    for (const { request, job, index } of open) {
      const { at, items, force, idempotency } = request;
      const twin = idempotency === null ? undefined : answered.get(idempotency.key);
      if (twin !== undefined && idempotency !== null) {
        this.#answers[index] = replayOf(twin, idempotency.requestHash);
        continue;
      }
      const holder = admissions.holder(job);
      if (job.definition.concurrentExecutionPolicy === "Skip" && !force && holder !== null) {
        this.#answers[index] = { ok: false, reason: "overlap", occurrenceId: holder };
        continue;
      }
      const terms = draft.found.get(keyOf({ job, defaults: request.defaults }));
      if (terms === undefined) throw new Error(`no terms for job ${job.id}`);
      const reason = triggerReason(request.by, request.reason);
      const messages: JobMessage[] = [];
      for (const { occurrenceId, jobData } of items) {
        const verdict = admissions.admit(job, occurrenceId, force);
        planned.push({
          verdict,
          one: {
            id: occurrenceId,
            job,
            terms,
            origin: "trigger",
            scheduledFor: at,
            createdAt: at,
            jobData,
            reason,
            isForced: force,
          },
        });
        if (verdict.kind !== "run") continue;
        messages.push(messageOf({
          id: occurrenceId,
          scheduledFor: at,
          terms,
          token: 0,
          attempt: 0,
          jobData: jobData === null ? payloads.get(terms.payload) ?? "{}" : storable(jobData),
        }));
      }
      const occurrenceIds = items.map((item) => item.occurrenceId);
      const answer: TriggerAnswer = { ok: true, occurrenceIds, messages, replayed: false };
      this.#answers[index] = answer;
      if (idempotency !== null) answered.set(idempotency.key, { hash: idempotency.requestHash, answer });
    }
    await insertOccurrences(session, planned);
    await this.#keepKeys(session, answered);
  }

  /** Ids of the jobs that allow runs side by side. */
  allowing(): readonly string[] {
    return [...this.#jobs.values()].filter(isAllowing).map((job) => job.id);
  }

  answers(): readonly (TriggerAnswer | "own")[] {
    return this.#answers.map((answer) => {
      if (answer === null) throw new Error("Cannot trigger: a request was left without an answer");
      return answer;
    });
  }

  async #keepKeys(
    session: Session,
    answered: ReadonlyMap<string, { readonly hash: string; readonly answer: TriggerAnswer }>,
  ): Promise<void> {
    if (answered.size === 0) return;
    const at = Math.max(...this.requests.map((request) => request.at));
    const keys = [...answered];
    await session.rows(
      `DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at <= ${
        time("$1::float8")
      }
         ORDER BY created_at LIMIT ${PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED)`,
      [at - KEY_LIFETIME_MS],
    );
    await session.rows(
      `INSERT INTO idempotency (key, request_hash, created_at, occurrence_ids)
       SELECT u.key, u.hash, ${time("u.at")}, u.ids
         FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[]) AS u (key, hash, at, ids)
       ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash, created_at = excluded.created_at,
         occurrence_ids = excluded.occurrence_ids`,
      [
        texts(keys.map(([key]) => key)),
        texts(keys.map(([, { hash }]) => hash)),
        numbers(keys.map(() => at)),
        texts(keys.map(([, { answer }]) => JSON.stringify(answer.ok ? answer.occurrenceIds : []))),
      ],
    );
  }

  /** Requests without an answer yet, and their jobs once those are locked. */
  #open(): { readonly request: TriggerRequest; readonly job: JobStanding; readonly index: number }[] {
    return this.requests.flatMap((request, index) =>
      this.#answers[index] === null
        ? [{ request, index, job: this.#jobs.get(request.jobId) as JobStanding }]
        : []
    );
  }
}

function isAllowing(job: JobStanding): boolean {
  return job.definition.concurrentExecutionPolicy === "Allow";
}

function replayOf(
  first: { readonly hash: string; readonly answer: TriggerAnswer },
  hash: string,
): TriggerAnswer {
  if (first.hash !== hash || !first.answer.ok) return { ok: false, reason: "idempotency-mismatch" };
  return { ...first.answer, messages: [], replayed: true };
}
