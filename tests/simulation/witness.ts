/**
 * A witness inside the embedded store: triggers in its own file that write down each change of an occurrence and each
 * epoch, in the order of commits. The program knows nothing of it. When a commit was is noted from outside, in true
 * time.
 */
import { DatabaseSync } from "node:sqlite";
import { OCCURRENCE_STATUSES, ORIGINS } from "../../actors/domain/occurrence.ts";
import type { ClusterHistory, Edge } from "../support/cluster_history.ts";
import { readEmbeddedHistory } from "../support/read_history.ts";

const SCHEMA = `
  CREATE TABLE witness_seen (
    number INTEGER PRIMARY KEY,
    occurrence TEXT,
    job INTEGER,
    from_status INTEGER,
    to_status INTEGER,
    from_token INTEGER,
    to_token INTEGER,
    twin INTEGER,
    is_lost INTEGER,
    epoch INTEGER,
    holder TEXT
  );
  CREATE TRIGGER witness_new AFTER INSERT ON occurrences BEGIN
    INSERT INTO witness_seen (occurrence, job, to_status, from_token, to_token, twin)
      VALUES (NEW.id, NEW.job, NEW.status, 0, NEW.token, NEW.twin);
  END;
  CREATE TRIGGER witness_change AFTER UPDATE ON occurrences
  WHEN OLD.status <> NEW.status OR OLD.token <> NEW.token OR OLD.lost <> NEW.lost
    OR OLD.ended_at IS NOT NEW.ended_at BEGIN
    INSERT INTO witness_seen (occurrence, job, from_status, to_status, from_token, to_token, is_lost)
      VALUES (NEW.id, NEW.job, OLD.status, NEW.status, OLD.token, NEW.token, OLD.lost <> NEW.lost);
  END;
  CREATE TRIGGER witness_gone AFTER DELETE ON occurrences BEGIN
    INSERT INTO witness_seen (occurrence, job, from_status, from_token, to_token)
      VALUES (OLD.id, OLD.job, OLD.status, OLD.token, OLD.token);
  END;
  CREATE TRIGGER witness_epoch AFTER INSERT ON epochs BEGIN
    INSERT INTO witness_seen (epoch, holder) VALUES (NEW.epoch, NEW.holder);
  END;
`;

/** The number of the last thing that was seen. */
export const LAST_SEEN = "SELECT coalesce(max(number), 0) FROM witness_seen";

/** Installs the witness into the file of a store that nobody has open. */
export function installWitness(folder: string): void {
  const database = new DatabaseSync(`${folder}/milvaion.db`);
  try {
    database.exec(SCHEMA);
  } finally {
    database.close();
  }
}

/** Everything up to a number was committed by this moment. */
export interface Commit {
  readonly upTo: number;
  /** Epoch milliseconds, true time. */
  readonly at: number;
}

/** Which process asked for what only a leader may write; the store's rows do not say. */
export interface LeaderCalls {
  /** Occurrence id of a decision or of a bulk replay → instance that drew it. */
  readonly decided: ReadonlyMap<string, string>;
  /** `occurrence/token` → instances that asked for it to be taken as lost. */
  readonly reaped: ReadonlyMap<string, ReadonlySet<string>>;
}

export type StoredHistory =
  & Pick<ClusterHistory, "occurrences" | "ranges" | "changes" | "edges" | "leaderWrites" | "raises">
  & {
    readonly nextDueAt: ReadonlyMap<string, number | null>;
    readonly integrity: string;
  };

/** Reads what the witness saw and how the tables are now, from the files of a stopped store. */
export function readStore(folder: string, commits: readonly Commit[], calls: LeaderCalls): StoredHistory {
  const stored = readEmbeddedHistory(folder);
  const database = new DatabaseSync(`${folder}/milvaion.db`, { readOnly: true });
  try {
    const jobs = new Map(
      database.prepare("SELECT seq, id FROM jobs").all().map((
        row,
      ) => [Number(row["seq"]), String(row["id"])]),
    );
    const origins = new Map(
      database.prepare("SELECT id, created_reason, origin FROM occurrences").all().map((row) =>
        [String(row["id"]), {
          createdReason: givenReason(row["created_reason"]),
          catchesUp: ORIGINS[Number(row["origin"])] === "catch-up",
        }] as const
      ),
    );
    const edges: Edge[] = [];
    const raises: ClusterHistory["raises"][number][] = [];
    const leaderWrites: ClusterHistory["leaderWrites"][number][] = [];
    let next = 0;
    let leader = "";
    for (const row of database.prepare("SELECT * FROM witness_seen ORDER BY number").all()) {
      const order = Number(row["number"]);
      while ((commits[next]?.upTo ?? Infinity) < order) next += 1;
      const seen = { order, at: commits[next]?.at ?? NaN, session: "store", transaction: String(next) };
      if (row["epoch"] !== null) {
        leader = String(row["holder"]);
        raises.push({ ...seen, session: leader, epoch: Number(row["epoch"]) });
        continue;
      }
      const occurrenceId = String(row["occurrence"]);
      const edge: Edge = {
        ...seen,
        occurrenceId,
        jobId: jobs.get(Number(row["job"])) ?? `job ${row["job"]}`,
        from: statusName(row["from_status"]),
        to: statusName(row["to_status"]),
        fromToken: Number(row["from_token"]),
        toToken: Number(row["to_token"]),
      };
      edges.push(edge);
      const askers = edge.from === null && (row["twin"] === 0 || calls.decided.has(occurrenceId))
        ? [calls.decided.get(occurrenceId) ?? "nobody"]
        : row["is_lost"] === 1
        ? [...calls.reaped.get(`${occurrenceId}/${edge.fromToken}`) ?? ["nobody"]]
        : [];
      // Several may have asked for the same loss: it was the leader's doing if the leader is among them.
      const session = askers.includes(leader) ? leader : askers[0];
      if (session !== undefined) {
        leaderWrites.push({
          ...seen,
          session,
          what: `${occurrenceId} ${edge.from ?? "nothing"} → ${edge.to}`,
        });
      }
    }
    return {
      ...stored,
      occurrences: stored.occurrences.map((one) => ({
        ...one,
        ...origins.get(one.id) ?? { createdReason: null, catchesUp: false },
      })),
      changes: edges.flatMap(({ occurrenceId, from, to, toToken }) =>
        to === null || from === to ? [] : [{ occurrenceId, to, token: toToken }]
      ),
      edges,
      raises,
      leaderWrites,
    };
  } finally {
    database.close();
  }
}

/** What the trigger said, out of `Triggered by …: what it said`. */
function givenReason(text: unknown): string | null {
  return /: (.*)$/.exec(String(text ?? ""))?.[1] ?? null;
}

function statusName(status: unknown): string | null {
  return status === null ? null : OCCURRENCE_STATUSES[Number(status)] ?? `status ${status}`;
}
