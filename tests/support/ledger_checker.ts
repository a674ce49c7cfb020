/**
 * Judges a history from sources that do not trust the system: due times from an oracle, rows read from the store,
 * runs that the jobs wrote to a file themselves, and what clients were told. Each violation names its invariant.
 */

export interface LedgerHistory {
  /** Due times are judged from `from` (inclusive) to `until` (inclusive). */
  readonly jobs: readonly {
    readonly id: string;
    readonly policy: "Skip" | "Queue" | "Allow";
    readonly dueTimes: readonly number[];
  }[];
  readonly occurrences: readonly {
    readonly id: string;
    readonly jobId: string;
    readonly scheduled: boolean;
    readonly dueAt: number;
    readonly status: string;
    readonly token: number;
  }[];
  readonly ranges: readonly {
    readonly jobId: string;
    readonly from: number;
    readonly to: number;
    readonly count: number;
  }[];
  /** In the order in which they were committed. */
  readonly changes: readonly { readonly occurrenceId: string; readonly to: string; readonly token: number }[];
  /** What job code wrote itself; `end` null when it never got there. */
  readonly runs: readonly {
    readonly occurrenceId: string;
    readonly jobId: string;
    readonly token: number;
    readonly start: number;
    readonly end: number | null;
    /** When the process that ran it was dead at the latest: closes a run without an end. */
    readonly deadAt: number | null;
    /** When it threw, as it was told to or as planned; null or left out when it did not. */
    readonly stoppedAt?: number | null;
    /** Signs of life that it wrote while it ran. A run with beats and no end lasted until the last of them. */
    readonly beats?: readonly number[];
    readonly pid?: number;
  }[];
  /** Occurrence ids that a client was told were accepted. */
  readonly acknowledged: readonly string[];
  /** True when the system had time to finish: nothing may be left undone. */
  readonly settled: boolean;
}

export interface Violation {
  readonly invariant:
    | "complete"
    | "unique"
    | "terminal-once"
    | "tokens"
    | "overlap"
    | "lost"
    | "settled"
    | "granted";
  readonly what: string;
}

const FINAL = ["Completed", "Failed", "Cancelled", "TimedOut", "Skipped"];

/** All violations found, empty when the history keeps every promise. O(n log n). */
export function checkLedger(history: LedgerHistory): Violation[] {
  return [
    ...checkDueTimes(history),
    ...checkStates(history),
    ...checkRuns(history),
    ...checkAcknowledged(history),
  ];
}

/** I1, I2: each due time in exactly one place, and nothing decided that was never due. */
function checkDueTimes(history: LedgerHistory): Violation[] {
  const violations: Violation[] = [];
  for (const job of history.jobs) {
    const rows = history.occurrences.filter((one) => one.jobId === job.id && one.scheduled);
    const ranges = history.ranges.filter((one) => one.jobId === job.id).sort((a, b) => a.from - b.from);
    const byDue = Map.groupBy(rows, (one) => one.dueAt);
    const due = [...job.dueTimes].sort((a, b) => a - b);
    const dueSet = new Set(due);
    const inRange = new Array<number>(ranges.length).fill(0);
    let first = 0;
    for (const at of due) {
      while (first < ranges.length && (ranges[first]?.to ?? 0) < at) first += 1;
      let places = byDue.get(at)?.length ?? 0;
      for (let index = first; index < ranges.length && (ranges[index]?.from ?? Infinity) <= at; index += 1) {
        if (at <= (ranges[index]?.to ?? -Infinity)) {
          places += 1;
          inRange[index] = (inRange[index] ?? 0) + 1;
        }
      }
      if (places === 0) {
        violations.push({
          invariant: "complete",
          what: `job ${job.id}: due time ${iso(at)} was never decided`,
        });
      }
      if (places > 1) {
        violations.push({
          invariant: "unique",
          what: `job ${job.id}: due time ${iso(at)} stands in ${places} places`,
        });
      }
    }
    for (const row of rows) {
      if (!dueSet.has(row.dueAt)) {
        violations.push({
          invariant: "unique",
          what: `job ${job.id}: ${iso(row.dueAt)} has an occurrence but was never due`,
        });
      }
    }
    ranges.forEach((range, index) => {
      if (inRange[index] !== range.count) {
        violations.push({
          invariant: "complete",
          what: `job ${job.id}: range ${iso(range.from)}..${iso(range.to)} counts ${range.count}, holds ${
            inRange[index]
          }`,
        });
      }
    });
  }
  return violations;
}

/** I4, I5: one final status, nothing after it, tokens never go back; nothing left undone when settled. */
function checkStates(history: LedgerHistory): Violation[] {
  const violations: Violation[] = [];
  const byOccurrence = Map.groupBy(history.changes, (change) => change.occurrenceId);
  for (const [id, changes] of byOccurrence) {
    let final: string | null = null;
    let token = 0;
    for (const change of changes) {
      if (final !== null) {
        violations.push({ invariant: "terminal-once", what: `${id}: ${final} became ${change.to}` });
      }
      if (FINAL.includes(change.to)) final = change.to;
      if (change.token < token) {
        violations.push({ invariant: "tokens", what: `${id}: token ${token} went back to ${change.token}` });
      }
      token = Math.max(token, change.token);
    }
  }
  for (const row of history.occurrences) {
    const last = byOccurrence.get(row.id)?.at(-1);
    if (last !== undefined && last.to !== row.status) {
      violations.push({
        invariant: "terminal-once",
        what: `${row.id}: row says ${row.status}, its last change ${last.to}`,
      });
    }
    if (history.settled && !FINAL.includes(row.status)) {
      violations.push({ invariant: "settled", what: `${row.id}: still ${row.status}` });
    }
  }
  return violations;
}

/** I6, I9: every run was granted, no token ran twice, and Skip and Queue never had two runs at once. */
function checkRuns(history: LedgerHistory): Violation[] {
  const violations: Violation[] = [];
  const rows = new Map(history.occurrences.map((one) => [one.id, one]));
  const seen = new Set<string>();
  for (const run of history.runs) {
    const key = `${run.occurrenceId}/${run.token}`;
    if (seen.has(key)) violations.push({ invariant: "granted", what: `${key} ran twice` });
    seen.add(key);
    const row = rows.get(run.occurrenceId);
    if (row === undefined) violations.push({ invariant: "lost", what: `${key} ran, its occurrence is gone` });
    else if (run.token > row.token) {
      violations.push({ invariant: "granted", what: `${key} ran, the store granted only ${row.token}` });
    }
  }
  const finished = new Set(history.runs.filter((run) => run.end !== null).map((run) => run.occurrenceId));
  const witnessed = new Set(history.jobs.map((job) => job.id));
  for (const row of history.occurrences) {
    if (row.status === "Completed" && history.runs.length > 0) {
      if (!finished.has(row.id) && witnessed.has(row.jobId)) {
        violations.push({
          invariant: "lost",
          what: `${row.id}: Completed, but no run of it came to its end`,
        });
      }
    }
  }
  for (const job of history.jobs) {
    if (job.policy === "Allow") continue;
    const runs = history.runs.filter((run) => run.jobId === job.id).sort((a, b) => a.start - b.start);
    let openUntil = -Infinity;
    let open = "";
    for (const run of runs) {
      if (run.start < openUntil) {
        violations.push({
          invariant: "overlap",
          what: `job ${job.id}: ${run.occurrenceId} started while ${open} ran`,
        });
      }
      const end = lastSignOf(run);
      if (end > openUntil) {
        openUntil = end;
        open = run.occurrenceId;
      }
    }
  }
  return violations;
}

/** Until when a run was surely on. */
export function lastSignOf(run: LedgerHistory["runs"][number]): number {
  return run.end ?? run.stoppedAt ?? run.beats?.at(-1) ?? run.deadAt ?? Infinity;
}

/** I26: what a client was told was accepted exists. */
function checkAcknowledged(history: LedgerHistory): Violation[] {
  const ids = new Set(history.occurrences.map((one) => one.id));
  return history.acknowledged.filter((id) => !ids.has(id)).map((id) => ({
    invariant: "lost" as const,
    what: `${id}: acknowledged to a client, not in the store`,
  }));
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
