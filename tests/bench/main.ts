/**
 * `deno task bench`: the embedded budgets, measured from outside over HTTP on the real program.
 *
 *   deno task bench                 all rows, a table on stderr and JSON on stdout
 *   deno task bench throughput      only rows whose name contains the word
 */
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

const BENCHMARKS: readonly { readonly name: string; readonly measure: () => Promise<Row> }[] = [
  { name: "throughput, 50 lanes", measure: () => measureThroughput(50, 10_000) },
  { name: "throughput, 200 lanes", measure: () => measureThroughput(200, 15_000) },
  { name: "lateness, 1,000 one-shot jobs over 10 s", measure: measureLateness },
  { name: "pick-up of a single trigger", measure: measurePickUp },
  { name: "start to first completed job", measure: measureStart },
  { name: "memory at rest", measure: measureRest },
];

if (import.meta.main) {
  const wanted = Deno.args[0] ?? "";
  const rows: Row[] = [];
  for (const benchmark of BENCHMARKS.filter((one) => one.name.includes(wanted))) {
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
