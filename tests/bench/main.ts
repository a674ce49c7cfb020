/**
 * `deno task bench`: the budgets, measured from outside over HTTP on the real program. `--help` names the rows.
 *
 * A row that fails is named at the end and the others go on; then the exit code is 70. A budget that is missed is a
 * figure like others.
 */
import { EXIT } from "../../infra/cli/exit_code.ts";
import type { Bench, Benchmark, Run } from "./benchmark.ts";
import { type Ground, inMinutes, type Order, readOrder, secondsOf } from "./command.ts";
import { describeMachine } from "./machine.ts";
import { type Measured, measuredOf, type Row, tableOf } from "./report.ts";
import { ROWS } from "./rows.ts";

/** What `--quick` leaves of a count. */
const QUICK_SHARE = 1 / 50;

async function measure(benchmark: Benchmark, order: { readonly runs: number; readonly isQuick: boolean }) {
  const runs: Run[] = [];
  const bench: Bench = {
    async repeat(run) {
      const times = benchmark.onceBecause === undefined ? order.runs : 1;
      for (let number = 1; number <= times; number += 1) {
        runs.push(await run());
        console.error(`  ${number} of ${times}: ${textOf(benchmark, runs.at(-1))}`);
      }
      return runs;
    },
    count: (full) => order.isQuick ? Math.ceil(full * QUICK_SHARE) : full,
  };
  try {
    return { runs: await benchmark.measure(bench) };
  } catch (error) {
    console.error(`  failed: ${(error as Error).stack}`);
    return { runs, error: (error as Error).message };
  }
}

/** A fiftieth of the work meets no budget and misses none. */
function judged(
  figures: readonly Measured[],
  { isQuick }: { readonly isQuick: boolean },
): readonly Measured[] {
  return isQuick ? figures.map((figure) => ({ ...figure, met: null })) : figures;
}

function textOf({ figures }: Benchmark, run: Run | undefined): string {
  return figures.map(({ name, unit }) => `${name} ${run?.[name]?.toPrecision(4)} ${unit}`).join(", ");
}

async function carryOut({ rows: wanted, file, ...order }: Extract<Order, { readonly kind: "measure" }>) {
  const machine = await describeMachine(new Set<Ground>(wanted.map(({ ground }) => ground)));
  console.error(
    `${wanted.length} rows, ${order.runs} runs each: about ${order.isQuick ? "a fifth of " : ""}${
      inMinutes(secondsOf(wanted.map(({ benchmark }) => benchmark), order.runs))
    }; ` +
      `load average ${machine.loadAverage.map((one) => one.toFixed(1)).join(" ")}`,
  );
  const rows: Row[] = [];
  const json = () =>
    JSON.stringify({ ...machine, ...(order.isQuick ? { isQuick: true } : {}), rows }, null, 2) + "\n";
  // What is measured is kept, whatever becomes of the rows that follow; a file that cannot be written is said now.
  const keep = async () => file !== null && await Deno.writeTextFile(file, json());
  await keep();
  for (const { ground, benchmark } of wanted) {
    console.error(`${benchmark.name} …`);
    const startedAt = performance.now();
    const { runs, error } = await measure(benchmark, order);
    rows.push({
      ground,
      name: benchmark.name,
      about: benchmark.about,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      figures: error === undefined ? judged(measuredOf(benchmark, runs), order) : [],
      runs,
      ...(benchmark.onceBecause === undefined ? {} : { onceBecause: benchmark.onceBecause }),
      ...(error === undefined ? {} : { error }),
    });
    await keep();
  }
  const isForPeople = file !== null || Deno.stdout.isTerminal();
  (isForPeople ? console.log : console.error)(tableOf(rows));
  if (!isForPeople) console.log(json());
  return rows.some(({ error }) => error !== undefined) ? EXIT.software : EXIT.ok;
}

if (import.meta.main) {
  const order = readOrder(Deno.args, ROWS);
  switch (order.kind) {
    case "help":
      console.log(order.text);
      break;
    case "refused":
      console.error(order.message);
      Deno.exit(EXIT.usage);
      break;
    case "measure":
      Deno.exit(await carryOut(order));
  }
}
