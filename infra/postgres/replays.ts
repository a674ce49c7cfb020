/** Replays: new occurrences with the payload of failed ones, linked to them, under their job's policy. */
import type { ReplayRefusal } from "../../actors/ports/failed_occurrences.ts";
import type { Replay, Replayed } from "../replay.ts";
import type { Session } from "./database.ts";
import { readHolds } from "./job_holds.ts";
import { messageOf } from "./job_messages.ts";
import { type JobStanding, lockJobs } from "./job_rows.ts";
import { isUuid, numbers, storable, time, uuids } from "./literal.ts";
import { Admissions, insertOccurrences, type Planned } from "./new_occurrences.ts";
import { keyOf, type TermsBook, type TermsDraft } from "./terms.ts";

/**
 * Begins replays inside a transaction, of different failed occurrences. Locks jobs, then failed occurrences. What
 * became of each comes in their order; the draft is kept when the transaction has committed.
 */
export async function beginReplays(
  session: Session,
  replays: readonly Replay[],
  book: TermsBook,
): Promise<{ readonly answers: readonly Replayed[]; readonly draft: TermsDraft }> {
  const ids = replays.map(({ id }) => id).filter(isUuid);
  const failed = await readReplayed(session, ids);
  const jobs = await lockJobs(session, [...failed.values()].map(({ jobId }) => jobId), "own");
  const on = await replaysOn(session, ids);
  const wanted = replays.map((replay) => {
    const row = failed.get(replay.id);
    const job = row === undefined ? undefined : jobs.get(row.jobId);
    return { replay, row, job };
  });
  const standing = wanted.flatMap(({ job }) => job ?? []);
  const holding = standing.filter((job) => job.definition.concurrentExecutionPolicy !== "Allow");
  const admissions = new Admissions(await readHolds(session, [...new Set(holding.map((job) => job.seq))]));
  const draft = await book.of(
    session,
    wanted.flatMap(({ replay, job }) =>
      job === undefined ? [] : [{ job, defaults: replay.defaultsOf(job.definition.jobType) }]
    ),
  );
  const planned: Planned[] = [];
  const links: { readonly replay: Replay; readonly job: number }[] = [];
  const answers = wanted.map(({ replay, row, job }): Replayed => {
    if (row === undefined || job === undefined) return { ok: false, reason: "not-found" };
    if (!job.definition.isActive) return { ok: false, reason: "disabled" };
    const before = on.get(replay.id);
    if (before !== undefined && !replay.force) {
      return { ok: false, reason: "replay-on", occurrenceId: before };
    }
    const refusal = refusalOf(replay, job, admissions);
    if (refusal !== null) return { ok: false, ...refusal };
    const verdict = admissions.admit(job, {
      id: replay.occurrenceId,
      origin: "replay",
      isForced: replay.force,
    });
    if (verdict.kind === "skip") {
      return { ok: false, reason: "queue-full", occurrenceId: verdict.blockedBy ?? replay.id };
    }
    const terms = draft.found.get(keyOf({ job, defaults: replay.defaultsOf(job.definition.jobType) }));
    if (terms === undefined) throw new Error(`no terms for job ${job.id}`);
    const jobData = storable(replay.jobData ?? row.jobData);
    const { occurrenceId: id, at } = replay;
    planned.push({
      verdict,
      one: {
        id,
        job,
        terms,
        origin: "replay",
        scheduledFor: at,
        createdAt: at,
        jobData,
        reason: replayReason(replay),
        isForced: replay.force,
        notBefore: null,
      },
    });
    links.push({ replay, job: job.seq });
    const message = messageOf({ id, scheduledFor: at, terms, token: 0, attempt: 0, jobData });
    return {
      ok: true,
      jobId: job.id,
      jobType: job.definition.jobType,
      message: verdict.kind === "run" ? message : null,
    };
  });
  await insertOccurrences(session, planned);
  await insertLinks(session, links);
  return { answers, draft };
}

function refusalOf(replay: Replay, job: JobStanding, admissions: Admissions): ReplayRefusal | null {
  if (job.definition.concurrentExecutionPolicy !== "Skip" || replay.force) return null;
  const holder = admissions.holder(job);
  return holder === null ? null : { reason: "overlap", occurrenceId: holder };
}

async function readReplayed(
  session: Session,
  ids: readonly string[],
): Promise<ReadonlyMap<string, { readonly jobId: string; readonly jobData: string }>> {
  if (ids.length === 0) return new Map();
  const rows = await session.rows(
    `SELECT f.id, j.id, f.job_data FROM failed_occurrences f JOIN jobs j ON j.seq = f.job
      WHERE f.id = ANY($1::uuid[])`,
    [uuids(ids)],
  );
  return new Map(
    rows.map(([id, jobId, jobData]) => [String(id), { jobId: String(jobId), jobData: String(jobData) }]),
  );
}

/** Replays of these that have not ended, by what they replay. Holds the failed occurrences, so that it stays so. */
async function replaysOn(session: Session, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  await session.rows(
    "SELECT 1 FROM failed_occurrences WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
    [uuids(ids)],
  );
  const rows = await session.rows(
    `SELECT r.failed_id, o.id FROM replays r
       JOIN occurrences o ON o.id = r.occurrence_id AND o.scheduled_for = r.scheduled_for
      WHERE r.failed_id = ANY($1::uuid[]) AND o.ended_at IS NULL`,
    [uuids(ids)],
  );
  return new Map(rows.map(([id, on]) => [String(id), String(on)]));
}

async function insertLinks(
  session: Session,
  links: readonly { readonly replay: Replay; readonly job: number }[],
): Promise<void> {
  if (links.length === 0) return;
  await session.rows(
    `INSERT INTO replays (occurrence_id, failed_id, job, scheduled_for, action_id)
     SELECT u.id, u.failed, u.job, ${time("u.at")}, u.action
       FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::float8[], $5::uuid[]) AS u (id, failed, job, at, action)`,
    [
      uuids(links.map(({ replay }) => replay.occurrenceId)),
      uuids(links.map(({ replay }) => replay.id)),
      numbers(links.map(({ job }) => job)),
      numbers(links.map(({ replay }) => replay.at)),
      uuids(links.map(({ replay }) => replay.actionId)),
    ],
  );
}

/** Why the new occurrence is there. */
function replayReason({ id, by, reason }: Pick<Replay, "id" | "by" | "reason">): string {
  return storable(`Replay of ${id} by ${by}` + (reason === null ? "" : `: ${reason}`));
}
