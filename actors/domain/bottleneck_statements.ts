/** Statements that take long, whoever sends them: `pg_stat_statements` of PostgreSQL knows. */
import type { PostgresEvidence } from "./bottleneck_evidence.ts";
import { type Bottleneck, percent, proof, rounded, severityOf } from "./bottleneck_finding.ts";

/** Of one statement on average; ours look up rows by an index and take a few milliseconds. */
export const SLOW_STATEMENT_MS = { warning: 100, critical: 500 };
/** Sessions that it keeps at work, on average; with less nobody waits for it, however long it takes. */
export const SLOW_STATEMENT_SHARE = 0.05;
export const STATEMENTS_NOT_COUNTED =
  "pg_stat_statements would name them and is not there: shared_preload_libraries = " +
  "'pg_stat_statements' in postgresql.conf, a restart, and CREATE EXTENSION pg_stat_statements in this database.";

export function slowStatements({ slowStatements, waitingForLocks }: PostgresEvidence): readonly Bottleneck[] {
  return (slowStatements ?? []).flatMap(({ text, calls, meanMs, share }): readonly Bottleneck[] => {
    const severity = severityOf(meanMs, SLOW_STATEMENT_MS);
    if (severity === null || share < SLOW_STATEMENT_SHARE) return [];
    return [{
      code: "slow-statement",
      severity,
      place: "PostgreSQL",
      symptom: `A statement takes ${rounded(meanMs)} ms on average: ${text}`,
      proof: [
        proof("mean", meanMs, "ms", SLOW_STATEMENT_MS.warning),
        proof("calls", calls, "calls"),
        proof("sessionsAtWork", share, "sessions", SLOW_STATEMENT_SHARE),
        proof("sessionsWaitingForLocks", waitingForLocks, "sessions"),
      ],
      cause:
        `It keeps ${percent(share)} of a session at work, ours or another program's: many rows to read, a ` +
        "plan without an index, or a wait for locks, which counts as well.",
      changes: [
        "EXPLAIN (ANALYZE, BUFFERS) it; VACUUM ANALYZE its tables where the plan guesses their rows wrong.",
        "SELECT pid, pg_blocking_pids(pid), wait_event_type, query FROM pg_stat_activity WHERE state = 'active' shows " +
        "while it runs what it waits for.",
      ],
    }];
  });
}
