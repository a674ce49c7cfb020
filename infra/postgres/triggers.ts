/**
 * Triggers: occurrences that a person or program asked for, each request once by its idempotency key.
 *
 * Triggers of many callers go together. Jobs of policy Allow are only held against change (`share`), so that any
 * number of instances create runs of one job at a time; Skip and Queue are decided under the job's own lock.
 *
 * How an Allow job stood is remembered. Where it stands so still, which one statement sees to under its share of the
 * lock, that statement is all: nothing is read first, nothing committed apart. A wrong memory costs another try, under
 * the job's own lock.
 */
import type { TriggerAnswer, TriggerRequest } from "../../actors/ports/store.ts";
import type { Database } from "./database.ts";
import { Gather } from "./gather.ts";
import { JobMessages } from "./job_messages.ts";
import type { JobLock, JobStanding } from "./job_rows.ts";
import type { Partitions } from "./partitions.ts";
import type { TermsBook } from "./terms.ts";
import { type Remembered, TriggerBatch, wantedBy } from "./trigger_batch.ts";

/** Most occurrences in one transaction of several triggers. */
const GATHERED_AT_MOST = 1000;
/** Jobs that are remembered, of some kilobytes each. */
const KNOWN_AT_MOST = 10_000;
/** Jobs in one statement: it looks each occurrence's up among them, one by one. */
const KNOWN_AT_ONCE = 20;

export class Triggers {
  /** Jobs whose runs may go side by side, as they stood when they were last looked at. */
  readonly #known = new Map<string, JobStanding>();
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
    if (this.#known.has(request.jobId)) {
      const answer = await this.#shared.add(request);
      if (answer !== "own") return answer;
      this.#known.delete(request.jobId);
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
    const known = lock === "share" ? this.#asRemembered(requests) : null;
    if (known !== null) return await this.#runRemembered(requests, known);
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
      if (this.#known.size >= KNOWN_AT_MOST) this.#known.clear();
      this.#known.set(job.id, job);
    }
    return done.batch.answers();
  }

  /** What these requests need to know, when all of it is remembered and one statement can do all of them. */
  #asRemembered(requests: readonly TriggerRequest[]): Remembered | null {
    const jobs = new Map<string, JobStanding>();
    for (const { jobId, idempotency } of requests) {
      const job = this.#known.get(jobId);
      if (job === undefined || job.autoDisabled !== null || idempotency !== null) return null;
      jobs.set(jobId, job);
    }
    if (jobs.size > KNOWN_AT_ONCE) return null;
    const terms = this.terms.remembered(
      requests.map((request) => wantedBy(request, jobs.get(request.jobId) as JobStanding)),
    );
    return terms === null ? null : { jobs, ...terms };
  }

  #runRemembered(
    requests: readonly TriggerRequest[],
    remembered: Remembered,
  ): Promise<readonly (TriggerAnswer | "own")[]> {
    return this.database.call("trigger", async (session, isRetry) => {
      const batch = new TriggerBatch(requests, "share");
      if (isRetry) await batch.findDone(session, this.messages);
      await batch.createIfUnchanged(session, remembered);
      return batch.answers();
    });
  }
}
