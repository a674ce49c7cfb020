/** The triggers that go together: each is decided as its job stands, knowing those before it. */
import { isDisabledNow, probeEntry } from "../../actors/domain/auto_disable.ts";
import { triggerRefusal } from "../../actors/domain/concurrency.ts";
import type { AutoDisabled } from "../../actors/domain/job.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import { type OccurrenceStatus, statusOf } from "../../actors/domain/occurrence.ts";
import type { ChangedOccurrence, TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import type { Session } from "./database.ts";
import { keepStates } from "./failing_jobs.ts";
import { JobMessages, MESSAGE_COLUMNS, messageOf } from "./job_messages.ts";
import { readHolds } from "./job_holds.ts";
import { type JobLock, type JobStanding, lockJobs } from "./job_rows.ts";
import { keepKeys, seenKeys } from "./idempotency_keys.ts";
import { storable, uuids } from "./literal.ts";
import {
  Admissions,
  changedBy,
  insertOccurrences,
  insertOccurrencesOfUnchanged,
  type Planned,
  triggerReason,
} from "./new_occurrences.ts";
import { keyOf, type RememberedTerms, type TermsBook, type TermsDraft, type TermsWanted } from "./terms.ts";

/** Jobs as they stood, by their ids, with the terms and payloads of their runs. */
export interface Remembered extends RememberedTerms {
  readonly jobs: ReadonlyMap<string, JobStanding>;
}

/** The triggers of one transaction. */
export class TriggerBatch {
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
    const jobIds = this.#open().map(({ request }) => request.jobId);
    if (jobIds.length > 0) this.#stand(await lockJobs(session, jobIds, this.jobLock));
  }

  /** Answers requests whose jobs, as they stand, have no run for them. */
  #stand(jobs: ReadonlyMap<string, JobStanding>): void {
    this.#jobs = jobs;
    for (const { request, index } of this.#open()) {
      const job = this.#jobs.get(request.jobId);
      if (job === undefined) this.#answers[index] = { ok: false, reason: "not-found" };
      else if (!job.definition.isActive) this.#answers[index] = { ok: false, reason: "disabled" };
      else if (this.jobLock === "share" && !isAllowing(job)) this.#answers[index] = "own";
      else if (!this.#states.has(job.seq)) this.#states.set(job.seq, job.autoDisabled);
    }
  }

  wanted() {
    return this.#open().map(({ request, job }) => wantedBy(request, job));
  }

  async create(session: Session, draft: TermsDraft, book: TermsBook): Promise<void> {
    const held = new Set(this.#open().filter(({ job }) => !isAllowing(job)).map(({ job }) => job.seq));
    const admissions = new Admissions(await readHolds(session, [...held]));
    const payloads = await book.payloads(session, draft.found.values());
    const answered = new Map<string, Answered>();
    await insertOccurrences(session, this.#plan(admissions, { found: draft.found, payloads }, answered));
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

  /** The runs of jobs of policy Allow that stand as they are remembered; requests of others are answered "own". */
  async createIfUnchanged(session: Session, { jobs, ...terms }: Remembered): Promise<void> {
    this.#stand(jobs);
    const open = this.#open();
    const planned = this.#plan(new Admissions(new Map()), terms, new Map());
    const inserted = await insertOccurrencesOfUnchanged(session, planned);
    for (const { request, index } of open) {
      const isThere = request.items.every(({ occurrenceId }) => inserted.has(occurrenceId));
      if (!isThere) this.#answers[index] = "own";
    }
  }

  /** Decides each open request, answers it, and gives the occurrences to insert. */
  #plan(
    admissions: Admissions,
    terms: RememberedTerms,
    answered: Map<string, Answered>,
  ): readonly Planned[] {
    const planned: Planned[] = [];
    for (const { request, job, index } of this.#open()) {
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
      const own = terms.found.get(keyOf(wantedBy(request, job)));
      if (own === undefined) throw new Error(`no terms for job ${job.id}`);
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
            terms: own,
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
          terms: own,
          token: 0,
          attempt: 0,
          jobData: jobData === null ? terms.payloads.get(own.payload) ?? "{}" : storable(jobData),
        }));
      }
      const occurrenceIds = items.map((item) => item.occurrenceId);
      const statuses = statusesOf(occurrenceIds, unsent);
      const answer: TriggerAnswer = { ok: true, occurrenceIds, statuses, messages, unsent, replayed: false };
      this.#answers[index] = answer;
      if (idempotency !== null) answered.set(idempotency.key, { hash: idempotency.requestHash, answer });
    }
    return planned;
  }

  /** The jobs that allow runs side by side. */
  allowing(): readonly JobStanding[] {
    return [...this.#jobs.values()].filter(isAllowing);
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

/** The terms that a request's runs of this job start on. */
export function wantedBy({ defaultsOf }: TriggerRequest, job: JobStanding): TermsWanted {
  return { job, defaults: defaultsOf(job.definition.jobType) };
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

/** What a request with a key was answered, earlier in the same transaction. */
interface Answered {
  readonly hash: string;
  readonly answer: TriggerAnswer;
}

function replayOf(first: Answered, hash: string): TriggerAnswer {
  if (first.hash !== hash || !first.answer.ok) return { ok: false, reason: "idempotency-mismatch" };
  return { ...first.answer, messages: [], unsent: [], replayed: true };
}

/** Of new occurrences: those that have a message are Queued. */
function statusesOf(ids: readonly string[], unsent: readonly ChangedOccurrence[]): OccurrenceStatus[] {
  const known = new Map(unsent.map((one) => [one.occurrenceId, one.status]));
  return ids.map((id) => known.get(id) ?? "Queued");
}
