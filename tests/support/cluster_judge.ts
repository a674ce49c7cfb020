/**
 * Judges the history of a cluster. `checkLedger` judges what the ledger says in the end; here is what only the
 * witnesses of a cluster can tell: each edge, each grant, each lease, each epoch and each answer to a client.
 * O(n log n).
 */
import type { ClientCall, ClusterHistory, Edge, Fault } from "./cluster_history.ts";
import { type Figures, measure } from "./cluster_figures.ts";
import { checkLedger, type LedgerHistory, type Violation } from "./ledger_checker.ts";

/** What is judged, in the words of the promise. */
export const INVARIANTS = {
  complete: "each due time is decided",
  unique: "each due time is decided in one place only",
  edges: "statuses change along allowed edges only",
  "terminal-once": "at most one final status each",
  tokens: "tokens never go back, and grow with a grant only",
  stale: "no report of a stale attempt is applied",
  granted: "each run was granted, and no grant ran twice",
  overlap: "Skip and Queue never run two at once",
  lease: "a run has ended before its attempt is over for the store",
  epochs: "epochs grow, and only the newest leader writes",
  client: "what a client was told is so",
  lost: "what was accepted exists, what is Completed has run",
  settled: "nothing is left undone",
} as const;
export type Invariant = keyof typeof INVARIANTS;

export interface Verdict {
  readonly invariant: Invariant;
  readonly violations: readonly string[];
}

export interface Judgement {
  readonly holds: boolean;
  readonly verdicts: readonly Verdict[];
  readonly figures: Figures;
}

export interface Tolerance {
  /** How far the clocks of jobs and database may be apart. Milliseconds. */
  readonly clockMs?: number;
  /** How long a run may go on after it was frozen past its lease and woken. Milliseconds. */
  readonly afterFreezeMs?: number;
}

type Found = { readonly invariant: Invariant; readonly what: string };
type Run = LedgerHistory["runs"][number];

/** What may follow a status; written down here again, so that the program's own table is judged too. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  Queued: ["Running", "Cancelled", "Failed"],
  Running: ["Completed", "Failed", "Cancelled", "TimedOut", "Queued", "Unknown"],
  Unknown: ["Running", "Queued", "Failed", "Cancelled"],
};
const FIRST = ["Queued", "Skipped"];
const HELD = ["Running", "Unknown"];
const SHOWN = 5;
/** Processes run as soon as they are woken; that they are is written down only when all of them have been. */
const WAKING_MS = 100;

export function judge(history: ClusterHistory, tolerance: Tolerance = {}): Judgement {
  const { clockMs = 50, afterFreezeMs = 200 } = tolerance;
  const edges = [...history.edges].sort((a, b) => a.order - b.order);
  const over = endsOfAttempts(edges);
  const runs = history.runs.map((run) =>
    withoutWaking(run, over.get(`${run.occurrenceId}/${run.token}`)?.at, history.faults, afterFreezeMs)
  );
  const seen = { ...history, runs, edges };
  const found: readonly (Found | Violation)[] = [
    ...checkLedger({ ...seen, acknowledged: acknowledged(history.calls) }),
    ...checkEdges(seen),
    ...checkGrants(seen, clockMs),
    ...checkHolding(seen),
    ...checkEpochs(seen),
    ...checkClients(seen, clockMs),
  ];
  const byInvariant = Map.groupBy(found, ({ invariant }) => invariant);
  const verdicts = (Object.keys(INVARIANTS) as Invariant[]).map((invariant): Verdict => ({
    invariant,
    violations: (byInvariant.get(invariant) ?? []).map(({ what }) => what),
  }));
  return {
    holds: verdicts.every(({ violations }) => violations.length === 0),
    verdicts,
    figures: measure(history),
  };
}

/** For people: each invariant with what speaks against it, then the figures. */
export function describe({ verdicts, figures }: Judgement): string {
  const lines = verdicts.flatMap(({ invariant, violations }) => [
    `${violations.length === 0 ? "holds " : "BROKEN"}  ${invariant.padEnd(13)}  ${INVARIANTS[invariant]}`,
    ...violations.slice(0, SHOWN).map((what) => `          ${what}`),
    ...(violations.length > SHOWN ? [`          … ${violations.length - SHOWN} more`] : []),
  ]);
  return [...lines, JSON.stringify(figures, null, 2)].join("\n");
}

/** I4, I5: only allowed edges, no row deleted, and a token grows by one when it is granted and never else. */
function checkEdges({ edges }: ClusterHistory): Found[] {
  return edges.flatMap((edge): Found[] => {
    const { from, to, fromToken, toToken } = edge;
    if (to === null) return [{ invariant: "lost", what: `${shown(edge)}: the row was deleted` }];
    if (from === null) {
      return FIRST.includes(to) ? [] : [{ invariant: "edges", what: `${shown(edge)}: begins so` }];
    }
    const found: Found[] = [];
    if (from !== to && !ALLOWED[from]?.includes(to)) {
      found.push({ invariant: "edges", what: `${shown(edge)}: not allowed` });
    }
    const isGrant = from === "Queued" && to === "Running";
    if (toToken !== fromToken + (isGrant ? 1 : 0)) {
      found.push({ invariant: "tokens", what: `${shown(edge)}: token ${fromToken} became ${toToken}` });
    }
    return found;
  });
}

/** I5, I9, I10: each run has its grant before it, is over before its attempt is, and Completed has its own run. */
function checkGrants({ edges, runs, jobs }: ClusterHistory, clockMs: number): Found[] {
  const found: Found[] = [];
  const over = endsOfAttempts(edges);
  const granted = new Map(
    edges.filter(({ from, to }) => from === "Queued" && to === "Running")
      .map((edge) => [`${edge.occurrenceId}/${edge.toToken}`, edge]),
  );
  const completed = new Map<string, number>();
  for (const run of runs) {
    const key = `${run.occurrenceId}/${run.token}`;
    if (run.end !== null) completed.set(key, run.end);
    const grant = granted.get(key);
    // A database's clock and a job's may differ: the grant is written before its commit, the run starts after it.
    if (grant === undefined || grant.at > run.start + clockMs) {
      const when = grant === undefined ? "never" : `only at ${iso(grant.at)}`;
      found.push({ invariant: "granted", what: `${key} ran from ${iso(run.start)}, it was granted ${when}` });
    }
    const end = over.get(key);
    const last = Math.max(run.start, run.end ?? 0, run.stoppedAt ?? 0, run.beats?.at(-1) ?? 0);
    if (end !== undefined && last > end.at + clockMs) {
      found.push({
        invariant: "lease",
        what: `${key} still ran at ${iso(last)}, ${last - end.at} ms after ${shown(end)}`,
      });
    }
  }
  const witnessed = new Set(jobs.map(({ id }) => id));
  for (const [key, edge] of over) {
    if (edge.to !== "Completed" || !witnessed.has(edge.jobId)) continue;
    const end = completed.get(key);
    if (end === undefined || end > edge.at + clockMs) {
      found.push({ invariant: "stale", what: `${shown(edge)}, but attempt ${key} had not come to its end` });
    }
  }
  return found;
}

/**
 * I6, by the store's word: Skip has one at most that is not over, Queue one at most that is granted. Runs that catch up
 * wait for their turn under Skip as well.
 */
function checkHolding({ edges, jobs, occurrences }: ClusterHistory): Found[] {
  const catchingUp = new Set(occurrences.flatMap(({ id, catchesUp }) => catchesUp ? [id] : []));
  const policies = new Map(jobs.map(({ id, policy }) => [id, policy]));
  const holders = new Map<string, Set<string>>();
  return edges.flatMap((edge): Found[] => {
    const policy = policies.get(edge.jobId);
    if (policy !== "Skip" && policy !== "Queue") return [];
    const holding = holders.get(edge.jobId) ?? new Set();
    holders.set(edge.jobId, holding);
    const mayWait = policy === "Queue" || catchingUp.has(edge.occurrenceId);
    const holds = HELD.includes(edge.to ?? "") || (!mayWait && edge.to === "Queued");
    if (!holds) {
      holding.delete(edge.occurrenceId);
      return [];
    }
    holding.add(edge.occurrenceId);
    if (holding.size === 1) return [];
    const others = [...holding].filter((id) => id !== edge.occurrenceId);
    return [{ invariant: "overlap", what: `${shown(edge)} while ${others.join(", ")} is on` }];
  });
}

/** I7: epochs grow by commits, and what only a leader writes is written by whoever raised the newest epoch. */
function checkEpochs({ raises, leaderWrites }: ClusterHistory): Found[] {
  const found: Found[] = [];
  const inOrder = [...raises].sort((a, b) => a.order - b.order);
  inOrder.forEach((raise, index) => {
    const before = inOrder[index - 1];
    if (before !== undefined && raise.epoch <= before.epoch) {
      found.push({
        invariant: "epochs",
        what: `epoch ${before.epoch} of ${before.session} was followed by ${raise.epoch} of ${raise.session}`,
      });
    }
  });
  let next = 0;
  for (const write of [...leaderWrites].sort((a, b) => a.order - b.order)) {
    while ((inOrder[next]?.order ?? Infinity) < write.order) next += 1;
    const leader = inOrder[next - 1];
    if (leader?.session !== write.session) {
      const who = leader === undefined ? "before any epoch" : `in epoch ${leader.epoch} of ${leader.session}`;
      found.push({
        invariant: "epochs",
        what: `${write.session} wrote at ${iso(write.at)} ${who}: ${write.what}`,
      });
    }
  }
  return found;
}

/** I12, I26: an acknowledged trigger or replay exists once, an unknown one at most once, a refused one not at all. */
function checkClients({ calls, occurrences, runs }: ClusterHistory, clockMs: number): Found[] {
  const found: Found[] = [];
  const byReason = Map.groupBy(occurrences, ({ createdReason }) => createdReason ?? "");
  const triggers = Map.groupBy(
    calls.filter(({ kind }) => kind !== "cancel"),
    ({ key, kind }) => `${kind} ${key}`,
  );
  for (const [what, asked] of triggers) {
    const rows = byReason.get(asked[0]?.key ?? "") ?? [];
    const told = asked.filter(({ outcome }) => outcome === "ok");
    const isUnknown = asked.some(({ outcome }) => outcome === "info");
    const count = `${rows.length} occurrences of ${what}`;
    if (told.length > 0 && rows.length !== 1) {
      found.push({ invariant: "client", what: `${count}, which was acknowledged` });
    } else if (told.some(({ occurrenceId }) => occurrenceId !== rows[0]?.id)) {
      found.push({ invariant: "client", what: `${what} was told another id than ${rows[0]?.id}` });
    } else if (told.length === 0 && rows.length > (isUnknown ? 1 : 0)) {
      found.push({ invariant: "client", what: `${count}, which was ${isUnknown ? "unknown" : "refused"}` });
    }
  }
  const statuses = new Map(occurrences.map(({ id, status }) => [id, status]));
  const startsOf = Map.groupBy(runs, ({ occurrenceId }) => occurrenceId);
  for (const { kind, occurrenceId, status, endedAt } of calls) {
    // 202 only says that it was asked to stop.
    if (kind !== "cancel" || status !== 200 || occurrenceId === null) continue;
    const late = startsOf.get(occurrenceId)?.find(({ start }) => start > endedAt + clockMs);
    if (statuses.get(occurrenceId) !== "Cancelled") {
      found.push({
        invariant: "client",
        what: `${occurrenceId} was said to be cancelled and is ${statuses.get(occurrenceId)}`,
      });
    }
    if (late !== undefined) {
      found.push({ invariant: "client", what: `${occurrenceId} started after it was cancelled` });
    }
  }
  return found;
}

/**
 * A run without the little that it did when it was woken from a freeze and its attempt was over meanwhile: until its
 * process is killed some code goes on, and no system can do better. What it does later than `afterFreezeMs` stays.
 */
function withoutWaking(
  run: Run,
  over: number | undefined,
  faults: readonly Fault[],
  afterFreezeMs: number,
): Run {
  const isExcused = (at: number) =>
    over !== undefined && at > over &&
    faults.some(({ isFreeze, to }) => isFreeze === true && at >= to - WAKING_MS && at <= to + afterFreezeMs);
  const keep = (at: number | null | undefined) =>
    at !== null && at !== undefined && !isExcused(at) ? at : null;
  const beats = run.beats?.filter((at) => !isExcused(at)) ?? [run.start];
  return {
    ...run,
    end: keep(run.end),
    stoppedAt: keep(run.stoppedAt),
    // Without any sign it was on when it started, and no longer for certain.
    ...(run.beats === undefined ? {} : { beats: beats.length === 0 ? [run.start] : beats }),
  };
}

/** The edges with which attempts were over for the store, by occurrence and token. */
function endsOfAttempts(edges: readonly Edge[]): ReadonlyMap<string, Edge> {
  return new Map(
    edges.filter(({ from, to }) => HELD.includes(from ?? "") && !HELD.includes(to ?? ""))
      .map((edge) => [`${edge.occurrenceId}/${edge.fromToken}`, edge]),
  );
}

function acknowledged(calls: readonly ClientCall[]): readonly string[] {
  return calls.flatMap(({ kind, outcome, occurrenceId }) =>
    kind !== "cancel" && outcome === "ok" && occurrenceId !== null ? [occurrenceId] : []
  );
}

function shown({ occurrenceId, from, to, toToken, at, session, transaction }: Edge): string {
  return `${occurrenceId} ${from ?? "nothing"} → ${to ?? "nothing"} (token ${toToken}) at ${
    iso(at)
  } by ${session}, ` +
    `transaction ${transaction}`;
}

function iso(at: number): string {
  return Number.isFinite(at) ? new Date(at).toISOString() : String(at);
}
