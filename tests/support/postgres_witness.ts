/**
 * A witness inside the database: triggers that write down each change of an occurrence, each write of a leader and
 * each epoch, with the transaction and the connection that made it. Installed over the program's own schema, or into
 * an empty database before the program makes it; the program knows nothing of it.
 */
import postgres from "postgres";
import { OCCURRENCE_STATUSES, ORIGINS } from "../../actors/domain/occurrence.ts";
import type { ClusterHistory, Edge } from "./cluster_history.ts";

/** Written by whoever the program connects as, so it may do no more than add. */
const SCHEMA = `
  CREATE SCHEMA witness;
  CREATE TABLE witness.seen (
    number bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    session text NOT NULL DEFAULT current_setting('application_name'),
    kind text NOT NULL,
    before jsonb,
    after jsonb
  );
  CREATE FUNCTION witness.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
  DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN
      to_jsonb(OLD) - '{definition,error,result,job_data,cancel}'::text[] END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN
      to_jsonb(NEW) - '{definition,error,result,job_data,cancel}'::text[] END;
  BEGIN
    INSERT INTO witness.seen (kind, before, after) VALUES (TG_ARGV[0], before, after);
    RETURN NULL;
  END $$;

  -- Attaches to each of the program's tables as soon as there is one, so that nothing happens before it watches.
  CREATE FUNCTION witness.attach() RETURNS void LANGUAGE plpgsql AS $$
  DECLARE
    watched record;
  BEGIN
    FOR watched IN SELECT * FROM (VALUES
      ('occurrences', 'new', 'INSERT OR DELETE', 'true', 'occurrence'),
      ('occurrences', 'change', 'UPDATE', 'OLD.status <> NEW.status OR OLD.token <> NEW.token OR
        OLD.lost <> NEW.lost OR OLD.ended_at IS DISTINCT FROM NEW.ended_at', 'occurrence'),
      ('jobs', 'change', 'UPDATE', 'OLD.next_due_at IS DISTINCT FROM NEW.next_due_at AND
        OLD.version = NEW.version AND OLD.pause IS NOT DISTINCT FROM NEW.pause', 'decision'),
      ('verdict_ranges', 'change', 'INSERT OR UPDATE', 'true', 'range'),
      ('leadership', 'change', 'UPDATE', 'OLD.epoch <> NEW.epoch', 'epoch')
    ) AS v (name, event, events, condition, kind)
    LOOP
      CONTINUE WHEN to_regclass(watched.name) IS NULL OR EXISTS (SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass(watched.name) AND tgname = 'witness_' || watched.event);
      EXECUTE format('CREATE TRIGGER %I AFTER %s ON %I FOR EACH ROW WHEN (%s) EXECUTE FUNCTION witness.see(%L)',
        'witness_' || watched.event, watched.events, watched.name, watched.condition, watched.kind);
    END LOOP;
  END $$;
  CREATE FUNCTION witness.attach_to_new() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM witness.attach(); END $$;
  CREATE EVENT TRIGGER witness_attach ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION witness.attach_to_new();
  SELECT witness.attach();
`;

/** Installs the witness, as superuser, into an empty database or one that the program has migrated. */
export async function installWitness(url: string): Promise<void> {
  await connected(url, (sql) => sql.unsafe(SCHEMA));
}

/** What the witness saw, and how the program's tables are now. */
export type WitnessedHistory =
  & Pick<ClusterHistory, "occurrences" | "ranges" | "changes" | "edges" | "leaderWrites" | "raises">
  & {
    /** job id → the first due time that is not decided yet. Epoch milliseconds. */
    readonly nextDueAt: ReadonlyMap<string, number | null>;
    readonly createdAt: ReadonlyMap<string, number>;
    /** Reports of a stale attempt that the program kept as evidence. */
    readonly lateReports: number;
  };

interface SeenRow {
  readonly number: string;
  readonly at: Date;
  readonly transaction: string;
  readonly session: string;
  readonly kind: string;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
}

/** Reads it all in one snapshot. */
export async function readWitness(url: string): Promise<WitnessedHistory> {
  return await connected(
    url,
    (sql) =>
      sql.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY", async (held) => {
        const [setting] = await held`SHOW track_commit_timestamp`;
        const seen = await held.unsafe<SeenRow[]>(`
        SELECT number, at, transaction::text, session, kind, before, after FROM witness.seen
        ORDER BY ${
          setting?.["track_commit_timestamp"] === "on"
            ? "pg_xact_commit_timestamp(transaction::text::xid)"
            : "number"
        }, number`);
        const jobs = await held`
        SELECT seq, id, next_due_at, definition::jsonb -> 'createdAt' AS created_at FROM jobs`;
        const jobIds = new Map(jobs.map((job) => [String(job["seq"]), String(job["id"])]));
        const occurrences = await held`
        SELECT id, job, twin, scheduled_for, status, token, created_reason, origin FROM occurrences`;
        const ranges = await held`SELECT job, from_at, to_at, count FROM verdict_ranges`;
        const [late] = await held`SELECT count(*) FROM late_reports`;
        const edges = seen.flatMap((row, order) =>
          row.kind === "occurrence" ? edgeOf(row, order, jobIds) : []
        );
        return {
          occurrences: occurrences.map((row) => ({
            id: String(row["id"]),
            jobId: jobIds.get(String(row["job"])) ?? `job ${row["job"]}`,
            scheduled: Number(row["twin"]) === 0,
            dueAt: milliseconds(row["scheduled_for"]),
            status: statusName(row["status"]),
            token: Number(row["token"]),
            createdReason: givenReason(row["created_reason"]),
            catchesUp: ORIGINS[Number(row["origin"])] === "catch-up",
          })),
          ranges: ranges.map((row) => ({
            jobId: jobIds.get(String(row["job"])) ?? `job ${row["job"]}`,
            from: milliseconds(row["from_at"]),
            to: milliseconds(row["to_at"]),
            count: Number(row["count"]),
          })),
          changes: edges.flatMap(({ occurrenceId, from, to, toToken }) =>
            to === null || from === to ? [] : [{ occurrenceId, to, token: toToken }]
          ),
          edges,
          leaderWrites: seen.flatMap((row, order) => {
            const what = leaderWrite(row, jobIds);
            return what === null ? [] : [{ ...seenBy(row, order), what }];
          }),
          raises: seen.flatMap((row, order) => {
            const isRaise = row.kind === "epoch" && row.before?.["epoch"] !== row.after?.["epoch"];
            return isRaise ? [{ ...seenBy(row, order), epoch: Number(row.after?.["epoch"]) }] : [];
          }),
          nextDueAt: new Map(jobs.map((job) => [
            String(job["id"]),
            job["next_due_at"] === null ? null : milliseconds(job["next_due_at"]),
          ])),
          createdAt: new Map(jobs.map((job) => [String(job["id"]), Number(job["created_at"])])),
          lateReports: Number(late?.["count"]),
        };
      }),
  );
}

function edgeOf(row: SeenRow, order: number, jobIds: ReadonlyMap<string, string>): Edge {
  const { before, after } = row;
  const job = String((after ?? before)?.["job"]);
  return {
    ...seenBy(row, order),
    occurrenceId: String((after ?? before)?.["id"]),
    jobId: jobIds.get(job) ?? `job ${job}`,
    from: before === null ? null : statusName(before["status"]),
    to: after === null ? null : statusName(after["status"]),
    fromToken: Number(before?.["token"] ?? 0),
    toToken: Number((after ?? before)?.["token"]),
  };
}

/** What only a leader writes: decisions on due times, and attempts ended because their worker was lost. */
function leaderWrite({ kind, before, after }: SeenRow, jobIds: ReadonlyMap<string, string>): string | null {
  const job = jobIds.get(String(after?.["job"])) ?? "?";
  switch (kind) {
    case "decision":
      return `job ${after?.["id"]} moved from ${before?.["next_due_at"]} to ${after?.["next_due_at"]}`;
    case "range":
      return `job ${job}: range from ${after?.["from_at"]} to ${after?.["to_at"]}`;
    case "occurrence":
      if (before === null && after?.["twin"] === 0) {
        return `job ${job}: occurrence ${after["id"]} of ${after["scheduled_for"]}`;
      }
      if (before !== null && after !== null && before["lost"] !== after["lost"]) {
        return `occurrence ${after["id"]} lost its worker`;
      }
      return null;
    default:
      return null;
  }
}

function seenBy({ at, session, transaction }: SeenRow, order: number) {
  return { order, at: at.getTime(), session, transaction };
}

/** What the trigger said, out of `Triggered by …: what it said`. */
function givenReason(text: unknown): string | null {
  return /: (.*)$/.exec(String(text ?? ""))?.[1] ?? null;
}

function statusName(status: unknown): string {
  return OCCURRENCE_STATUSES[Number(status)] ?? `status ${status}`;
}

function milliseconds(at: unknown): number {
  return at instanceof Date ? at.getTime() : NaN;
}

async function connected<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, {
    max: 1,
    onnotice: () => {},
    connect_timeout: 5,
    connection: { application_name: "witness" },
  });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}
