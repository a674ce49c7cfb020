/**
 * A fault test in one piece: servers, a cluster on them and load on it; then faults, one after another, and in the
 * end one judgement of everything. Prints the figures; when it fails, also which fault was on when, and what the
 * processes complained of.
 */
import { assertEquals } from "@std/assert";
import { Cluster, type ClusterOptions } from "./cluster.ts";
import type { ClusterProcess } from "./cluster_process.ts";
import { describe, type Judgement, type Tolerance } from "./cluster_judge.ts";
import { Load, type LoadOptions } from "./load.ts";
import { until } from "./program.ts";
import { type Need, serverTest } from "./servers.ts";
import { needsOf, TestServers, type TestServersOptions } from "./test_servers.ts";

export interface UnderLoadOptions {
  readonly servers?: TestServersOptions;
  readonly cluster: Omit<ClusterOptions, "servers" | "redisPrefix">;
  readonly load?: LoadOptions;
  readonly tolerance?: Tolerance;
  /** Further tools. */
  readonly needs?: readonly Need[];
}

export interface Ground {
  readonly servers: TestServers;
  readonly cluster: Cluster;
  readonly load: Load;
  /** A figure that is printed with those of the judge. */
  readonly figure: (name: string, value: unknown) => void;
}

/** Shorter than users have, so that a lost run is seen to be lost within seconds. */
const SHORT_LEASES: Readonly<Record<string, string>> = {
  Worker__LeaseSeconds: "3",
  Worker__Heartbeat__IntervalSeconds: "1",
};
/** Lines of a process's output that a failed test shows. */
const SHOWN_LINES = 25;

/**
 * Registers a test whose work begins once the load is running. Everything that was promised must hold when it is
 * over, and each process that the test has not ended must be alive. `after` sees the judgement.
 */
export function faultTest(
  name: string,
  options: UnderLoadOptions,
  work: (ground: Ground) => Promise<void>,
  after: (judgement: Judgement) => void = () => {},
): void {
  const { own } = options.servers ?? {};
  serverTest([...needsOf(own), ...options.needs ?? []], name, async () => {
    await using servers = await TestServers.start(options.servers);
    await using cluster = await Cluster.start({
      ...servers.forCluster,
      ...options.cluster,
      env: { ...SHORT_LEASES, ...options.cluster.env },
    });
    await using load = await Load.start(cluster, options.load);
    const noted: Record<string, unknown> = {};
    try {
      await load.progress(50);
      await work({ servers, cluster, load, figure: (what, value) => noted[what] = value });
      await noneMissed(servers);
      const judgement = await load.judge(options.tolerance);
      print(name, judgement, noted);
      await allAlive([...cluster.apis, ...cluster.workers]);
      after(judgement);
    } catch (error) {
      const context = [whatHappened(cluster), await whatDatabaseDoes(servers)].join("\n");
      const report = `${(error as Error).message}\n${context}`;
      // Printed as well: a failure while all is put away would hide it.
      console.log(report);
      throw new Error(report, { cause: error });
    }
  });
}

/** Waits until an instance says that it leads no more: a leader that was cut off does so by itself. */
export async function stepsDown(leader: ClusterProcess): Promise<void> {
  const before = count(leader);
  await until(() => Promise.resolve(count(leader) > before), `${leader.name} steps down`);

  function count({ output }: ClusterProcess): number {
    return output.split("Stepping down").length;
  }
}

function print(name: string, { figures }: Judgement, noted: Readonly<Record<string, unknown>>): void {
  console.log("figures: " + JSON.stringify({ test: name, ...noted, ...figures }));
}

/** A process that ended by itself would be missing here; one that an error nobody caught went through says so. */
async function allAlive(processes: readonly ClusterProcess[]): Promise<void> {
  for (const process of processes) {
    assertEquals(/error: \(in promise\)|Uncaught/i.exec(process.output)?.[0], undefined, process.output);
    if (!process.isRunning) continue;
    const answer = await fetch(`${process.url}/livez`, { signal: AbortSignal.timeout(5000) });
    await answer.body?.cancel();
    assertEquals(answer.status, 200, `${process.name} is alive`);
  }
}

/** No fault here lasts as long as a due time may be late, so each has an occurrence of its own. */
async function noneMissed({ postgres }: TestServers): Promise<void> {
  const missed = await postgres.sql("SELECT * FROM verdict_ranges WHERE reason = 'missed'", "cluster");
  assertEquals([...missed], [], "no due time is missed");
}

/** Who does what in the database now, and who waits for whom. */
async function whatDatabaseDoes({ postgres }: TestServers): Promise<string> {
  try {
    const rows = await postgres.sql(
      `SELECT pid, application_name, state, wait_event, clock_timestamp() - xact_start AS began,
         pg_blocking_pids(pid)::text AS waits_for, left(query, 100) AS query
       FROM pg_stat_activity WHERE datname = 'cluster' AND state <> 'idle' ORDER BY xact_start`,
    );
    return ["The database does:", ...rows.map((row) => "  " + JSON.stringify(row))].join("\n");
  } catch (error) {
    return `The database does not say what it does: ${(error as Error).message}`;
  }
}

function whatHappened(cluster: Cluster): string {
  const faults = cluster.nemesis.faults.map(({ what, from, to }) =>
    `  ${new Date(from).toISOString()} … ${new Date(to).toISOString()}  ${what}`
  );
  const said = [...cluster.apis, ...cluster.workers].flatMap(({ name, output }) => {
    const lines = output.split("\n").filter((line) => line !== "" && !line.includes('"level":"debug"'));
    return [`--- ${name}`, ...lines.slice(-SHOWN_LINES)];
  });
  return ["Faults:", ...faults, "The processes said last:", ...said].join("\n");
}

export { describe };
