/** A read replica of PostgreSQL: whether it is one, of this store, and how far behind. */
import { offsetOf } from "../postgres/wal_position.ts";
import { type Examination, failed, type Finding, ok, warning } from "./check.ts";
import { explainPostgresFailure, type PostgresProbe, reachPostgres, readStoreId } from "./postgres.ts";
import { encryption, serverAddress } from "./server_address.ts";

export interface ReplicaQuestions {
  readonly url: string;
  readonly primaryUrl: string;
  /** `MilvaionConfig.Postgres.MaxReplicaLagSeconds`. */
  readonly maxLagSeconds: number;
}

export function replicaExamination(questions: ReplicaQuestions): Examination<PostgresProbe> {
  const { url, primaryUrl, maxLagSeconds } = questions;
  const address = serverAddress(url, 5432);
  return {
    subject: `Replica ${address.place}`,
    reach: () => reachPostgres(url),
    explain: (error) => explainPostgresFailure(error, address, "DATABASE_READ_URLS"),
    checks: [
      { name: "reachable", look: () => ok(`${address.place} answers.`) },
      { name: "role", look: role },
      { name: "store", look: (probe) => sameStore(probe, primaryUrl) },
      { name: "lag", look: (probe) => lag(probe, primaryUrl, maxLagSeconds) },
      {
        name: "encryption",
        look: async (probe) => {
          const { ssl } = await probe.row("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
          return encryption(
            address,
            ssl === true,
            "Add ?sslmode=verify-full (or require) to DATABASE_READ_URLS.",
          );
        },
      },
    ],
    leave: (probe) => probe.end(),
  };
}

async function role(probe: PostgresProbe): Promise<Finding> {
  const { replica } = await probe.row("SELECT pg_is_in_recovery() AS replica");
  if (replica === true) return ok("The server is a replica.");
  return failed(
    "The server is no replica: it takes writes itself, and nothing is read from it.",
    "Name servers that stream from the primary in DATABASE_READ_URLS.",
  );
}

async function sameStore(probe: PostgresProbe, primaryUrl: string): Promise<Finding> {
  const [here, there] = await Promise.all([
    readStoreId(probe),
    ofPrimary(primaryUrl, (primary) => readStoreId(primary)),
  ]);
  if (here !== null && here === there) return ok("It holds this store.");
  return failed(
    here === null ? "It holds no store." : "It holds another store than the primary.",
    "Check the database's name in DATABASE_READ_URLS, and what the replica streams from.",
  );
}

async function lag(probe: PostgresProbe, primaryUrl: string, maxLagSeconds: number): Promise<Finding> {
  const primary = await ofPrimary(
    primaryUrl,
    (one) =>
      one.row("SELECT pg_current_wal_flush_lsn()::text AS at, extract(epoch FROM clock_timestamp()) AS now"),
  );
  const { at, commit } = await probe.row(
    `SELECT pg_last_wal_replay_lsn()::text AS at, extract(epoch FROM pg_last_xact_replay_timestamp()) AS commit`,
  );
  if (typeof at !== "string") return failed("It has replayed nothing.", "See the log of the replica.");
  const bytes = Number(offsetOf(String(primary["at"])) - offsetOf(at));
  if (bytes <= 0) return ok("It has everything that the primary had written when it was asked.");
  const seconds = commit === null ? null : Math.max(0, Number(primary["now"]) - Number(commit));
  const words = `It lacks ${bytes.toLocaleString("en")} bytes, for ${
    seconds === null ? "nobody knows how long" : `${seconds.toFixed(1)} s at most`
  }`;
  if (seconds !== null && seconds <= maxLagSeconds) return ok(`${words}.`);
  return warning(
    `${words}; above ${maxLagSeconds} s lists are read from the primary.`,
    "On the primary: SELECT * FROM pg_stat_replication. A paused replay goes on with pg_wal_replay_resume().",
  );
}

async function ofPrimary<T>(url: string, work: (probe: PostgresProbe) => Promise<T>): Promise<T> {
  const primary = await reachPostgres(url);
  try {
    return await work(primary);
  } finally {
    await primary.end();
  }
}
