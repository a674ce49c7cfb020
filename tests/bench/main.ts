/**
 * `deno task bench`: the budgets, measured from outside over HTTP on the real program.
 *
 *   deno task bench                 the embedded rows: a table on stderr and JSON on stdout
 *   deno task bench --cluster       the rows of a cluster, on the servers of this machine
 *   deno task bench throughput      only rows whose name contains the word
 */
import {
  measureClusterLatency,
  measureClusterThroughput,
  measureFailover,
  measureScaling,
} from "./cluster.ts";
import { measureLateness, measurePickUp, measureRest, measureStart, measureThroughput } from "./embedded.ts";

export interface Row {
  readonly name: string;
  /** What design asks for, with its unit. */
  readonly budget: string;
  readonly measured: string;
  readonly met: boolean | null;
  /** The figures behind it. */
  readonly figures: Readonly<Record<string, number>>;
}

interface Benchmark {
  readonly name: string;
  readonly measure: () => Promise<Row>;
}

const EMBEDDED: readonly Benchmark[] = [
  { name: "throughput, 50 lanes", measure: () => measureThroughput(50, 10_000) },
  { name: "throughput, 200 lanes", measure: () => measureThroughput(200, 15_000) },
  { name: "lateness, 1,000 one-shot jobs over 10 s", measure: measureLateness },
  { name: "pick-up of a single trigger", measure: measurePickUp },
  { name: "start to first completed job", measure: measureStart },
  { name: "memory at rest", measure: measureRest },
];

const CLUSTER: readonly Benchmark[] = [
  { name: "throughput, claims through PostgreSQL", measure: () => measureClusterThroughput("PostgreSQL") },
  { name: "throughput, claims through RabbitMQ", measure: () => measureClusterThroughput("RabbitMQ") },
  { name: "scaling, 1 to 8 workers", measure: measureScaling },
  { name: "latency", measure: measureClusterLatency },
  { name: "failover, clean stop", measure: () => measureFailover("clean stop") },
  { name: "failover, SIGKILL", measure: () => measureFailover("SIGKILL") },
];

if (import.meta.main) {
  const words = Deno.args.filter((word) => !word.startsWith("--"));
  const wanted = words[0] ?? "";
  const rows: Row[] = [];
  for (
    const benchmark of (Deno.args.includes("--cluster") ? CLUSTER : EMBEDDED).filter((one) =>
      one.name.includes(wanted)
    )
  ) {
    console.error(`${benchmark.name} …`);
    const row = await benchmark.measure();
    rows.push(row);
    const verdict = row.met === null ? "" : row.met ? "  met" : "  MISSED";
    console.error(`  ${row.measured}   (budget ${row.budget})${verdict}`);
  }
  console.log(
    JSON.stringify(
      { machine: { cores: navigator.hardwareConcurrency, deno: Deno.version.deno }, rows },
      null,
      2,
    ),
  );
}
