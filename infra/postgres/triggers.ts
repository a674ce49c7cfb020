/**
 * Triggers: occurrences that a person or program asked for, each request once by its idempotency key.
 *
 * Triggers of many callers go together. Jobs of policy Allow are only held against change (`share`), so that any
 * number of instances create runs of one job at a time; Skip and Queue are decided under the job's own lock. Which of
 * the two a job needs is remembered, and found out under the lock: a wrong memory costs a second transaction.
 */
import { isDisabledNow, probeEntry } from "../../actors/domain/auto_disable.ts";
import { triggerRefusal } from "../../actors/domain/concurrency.ts";
import type { AutoDisabled } from "../../actors/domain/job.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import { type OccurrenceStatus, statusOf } from "../../actors/domain/occurrence.ts";
import type { ChangedOccurrence, TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import type { Database, Session } from "./database.ts";
import { keepStates } from "./failing_jobs.ts";
import { Gather } from "./gather.ts";
import { JobMessages, MESSAGE_COLUMNS, messageOf } from "./job_messages.ts";
import { readHolds } from "./job_holds.ts";
import { type JobLock, type JobStanding, lockJobs } from "./job_rows.ts";
import { keepKeys, seenKeys } from "./idempotency_keys.ts";
import { storable, uuids } from "./literal.ts";
import { Admissions, changedBy, insertOccurrences, type Planned, triggerReason } from "./new_occurrences.ts";
import type { Partitions } from "./partitions.ts";
import { keyOf, type TermsBook, type TermsDraft } from "./terms.ts";

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
   * Skipped because of it, so that each id in the answer can be looked up. Under Queue there is room for all of them, or
   * the whole request is refused.
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
  /** Whether each job is disabled by failures, as it is after the requests so far. */
  readonly #states = new Map<number, AutoDisabled | null>();

  constructor(private readonly requests: readonly TriggerRequest[], private readonly jobLock: JobLock) {
    this.#answers = requests.map(() => null);
  }

  /** What a first try that may have committed did: its ids are there. */
  async findDone(session: Session, messages: JobMessages): Promise<void> {
    const ids = this.requests.flatMap((request) => request.items.map((item) => item.occurrenceId));
    const rows = await session.rows(
      `SELECT ${MESSAGE_COLUMNS}, o.status = 0 AND o.ready_at IS NOT NULL, o.status FROM occurrences o
        WHERE o.id = ANY($1::uuid[])`,
      [uuids(ids)],
    );
    if (rows.length === 0) return;
    const there = new Map(rows.map((row) => [String(row[1]), statusOf(Number(row[8]))]));
    const ready = await messages.of(session, rows.filter((row) => row[7] === true));
    for (const [index, { items }] of this.requests.entries()) {
      const occurrenceIds = items.map((item) => item.occurrenceId);
      if (items.length === 0 || !occurrenceIds.every((id) => there.has(id))) continue;
      const own = new Set(occurrenceIds);
      this.#answers[index] = {
        ok: true,
        occurrenceIds,
        statuses: occurrenceIds.map((id) => there.get(id) ?? null),
        messages: ready.filter((message) => own.has(message.occurrenceId)),
        // The first try was cut off: listeners look such things up when they connect again.
        unsent: [],
        replayed: false,
      };
    }
  }

  /** Answers requests whose key was seen before. Of two with one key, the second waits for the first to commit. */
  async findKeys(session: Session): Promise<void> {
    const keys = this.requests.flatMap(({ idempotency }) => idempotency ?? []);
    const seen = await seenKeys(session, keys, Math.min(...this.requests.map((request) => request.at)));
    for (const [index, { idempotency }] of this.requests.entries()) {
      const known = idempotency === null ? undefined : seen.get(storable(idempotency.key));
      if (known === undefined || this.#answers[index] !== null) continue;
      this.#answers[index] = known.requestHash === idempotency?.requestHash
        ? {
          ok: true,
          occurrenceIds: known.ids,
          statuses: await storedStatuses(session, known.ids),
          messages: [],
          unsent: [],
          replayed: true,
        }
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
      else if (!this.#states.has(job.seq)) this.#states.set(job.seq, job.autoDisabled);
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
      const policy = job.definition.concurrentExecutionPolicy;
      const refusal = triggerRefusal(policy, admissions.active(job), {
        wanted: items.length,
        isForced: force,
      });
      if (refusal !== null) {
        this.#answers[index] = { ok: false, ...refusal };
        continue;
      }
      const state = this.#states.get(job.seq) ?? null;
      const entry = probeEntry(state, items.length, force);
      if (!entry.ok) {
        this.#answers[index] = entry;
        continue;
      }
      const terms = draft.found.get(keyOf({ job, defaults: request.defaults }));
      if (terms === undefined) throw new Error(`no terms for job ${job.id}`);
      const reason = triggerReason(request.by, request.reason);
      const messages: JobMessage[] = [];
      const unsent: ChangedOccurrence[] = [];
      for (const { occurrenceId, jobData } of items) {
        const verdict = admissions.admit(job, { id: occurrenceId, origin: "trigger", isForced: force });
        const each: Planned = {
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
            notBefore: null,
          },
        };
        planned.push(each);
        if (entry.mayProbe && state !== null && verdict.kind !== "skip") {
          this.#states.set(job.seq, { ...state, probeId: occurrenceId });
        }
        if (verdict.kind !== "run") {
          unsent.push(changedBy(each));
          continue;
        }
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
      const statuses = statusesOf(occurrenceIds, unsent);
      const answer: TriggerAnswer = { ok: true, occurrenceIds, statuses, messages, unsent, replayed: false };
      this.#answers[index] = answer;
      if (idempotency !== null) answered.set(idempotency.key, { hash: idempotency.requestHash, answer });
    }
    await insertOccurrences(session, planned);
    const before = new Map([...this.#jobs.values()].map((job) => [job.seq, job.autoDisabled]));
    await keepStates(session, [...this.#states].filter(([job, state]) => state !== before.get(job)));
    await keepKeys(
      session,
      [...answered].map(([key, { hash, answer }]) => ({
        key,
        requestHash: hash,
        ids: answer.ok ? answer.occurrenceIds : [],
      })),
      Math.max(...this.requests.map((request) => request.at)),
    );
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

  /** Requests without an answer yet, and their jobs once those are locked. */
  #open(): { readonly request: TriggerRequest; readonly job: JobStanding; readonly index: number }[] {
    return this.requests.flatMap((request, index) =>
      this.#answers[index] === null
        ? [{ request, index, job: this.#jobs.get(request.jobId) as JobStanding }]
        : []
    );
  }
}

/** What stands in the rows of these ids; null for one that is gone. */
async function storedStatuses(
  session: Session,
  ids: readonly string[],
): Promise<readonly (OccurrenceStatus | null)[]> {
  const rows = await session.rows("SELECT id, status FROM occurrences WHERE id = ANY($1::uuid[])", [
    uuids(ids),
  ]);
  const stored = new Map(rows.map(([id, status]) => [String(id), statusOf(Number(status))]));
  return ids.map((id) => stored.get(id) ?? null);
}

/** Whether a shared lock is enough for it. One that is disabled by failures has one probe at a time. */
function isAllowing(job: JobStanding): boolean {
  return job.definition.concurrentExecutionPolicy === "Allow" && !isDisabledNow(job.autoDisabled);
}

function replayOf(
  first: { readonly hash: string; readonly answer: TriggerAnswer },
  hash: string,
): TriggerAnswer {
  if (first.hash !== hash || !first.answer.ok) return { ok: false, reason: "idempotency-mismatch" };
  return { ...first.answer, messages: [], unsent: [], replayed: true };
}

/** Of new occurrences: those that have a message are Queued. */
function statusesOf(ids: readonly string[], unsent: readonly ChangedOccurrence[]): OccurrenceStatus[] {
  const known = new Map(unsent.map((one) => [one.occurrenceId, one.status]));
  return ids.map((id) => known.get(id) ?? "Queued");
}
