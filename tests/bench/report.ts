/** What was measured: as JSON, and as a table for people. */
import { table } from "../../infra/cli/table.ts";
import { type Benchmark, type Figure, median, type Run } from "./benchmark.ts";
import type { Ground } from "./command.ts";

/** A figure over all runs. */
export interface Measured {
  readonly name: string;
  readonly unit: string;
  /** Null: recorded only. */
  readonly budget: string | null;
  /** The median. */
  readonly measured: number;
  readonly least: number;
  readonly most: number;
  readonly ideal: number | null;
  readonly ofIdeal: number | null;
  /** What the servers (or the bare store, or timer) gave alone in the same runs. */
  readonly bareLimit: number | null;
  /** Measured ÷ bare limit. */
  readonly ratio: number | null;
  readonly met: boolean | null;
}

export interface Row {
  readonly ground: Ground;
  readonly name: string;
  readonly about: string;
  readonly seconds: number;
  readonly figures: readonly Measured[];
  readonly runs: readonly Run[];
  readonly onceBecause?: string;
  /** Why there are no figures. */
  readonly error?: string;
}

export function measuredOf({ figures }: Benchmark, runs: readonly Run[]): readonly Measured[] {
  return figures.map((figure) => {
    const numbers = (name: string) => runs.map((run) => run[name] ?? NaN);
    const values = numbers(figure.name);
    const [least, most, measured] = [Math.min(...values), Math.max(...values), median(values)];
    const ideal = typeof figure.ideal === "string" ? median(numbers(figure.ideal)) : figure.ideal ?? null;
    const bareLimit = figure.bare === undefined ? null : median(numbers(figure.bare));
    return {
      name: figure.name,
      unit: figure.unit,
      budget: budgetOf(figure),
      measured,
      least,
      most,
      ideal,
      ofIdeal: ideal === null || ideal === 0 ? null : measured / ideal,
      bareLimit,
      ratio: bareLimit === null || bareLimit === 0 ? null : measured / bareLimit,
      met: isMet(figure, { least, most, measured }),
    };
  });
}

function budgetOf({ atLeast, atMost, worstCounts }: Figure): string | null {
  if (atLeast === undefined && atMost === undefined) return null;
  return `${atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`}${worstCounts === true ? " always" : ""}`;
}

function isMet(
  { atLeast, atMost, worstCounts }: Figure,
  { least, most, measured }: Pick<Measured, "least" | "most" | "measured">,
): boolean | null {
  if (atLeast !== undefined) return (worstCounts === true ? least : measured) >= atLeast;
  if (atMost !== undefined) return (worstCounts === true ? most : measured) <= atMost;
  return null;
}

const HEADINGS = ["row", "figure", "budget", "measured", "runs", "ideal", "of it", "bare limit", "of it", ""];

/** A line for each figure; a row's name stands in its first. Rows that failed follow, with the reason. */
export function tableOf(rows: readonly Row[]): string {
  const lines = rows.flatMap((row) =>
    row.figures.map((one, index) => [
      index === 0 ? row.name : "",
      one.name,
      one.budget ?? "–",
      `${short(one.measured)} ${one.unit}`,
      row.runs.length === 1 ? "once" : `${short(one.least)} to ${short(one.most)}`,
      one.ideal === null ? "–" : short(one.ideal),
      share(one.ofIdeal),
      one.bareLimit === null ? "–" : short(one.bareLimit),
      share(one.ratio),
      one.met === null ? "" : one.met ? "met" : "MISSED",
    ])
  );
  const failed = rows.flatMap(({ name, error }) => error === undefined ? [] : [`${name} failed: ${error}\n`]);
  return table(HEADINGS, lines) + failed.join("");
}

function short(value: number): string {
  const size = Math.abs(value);
  return size >= 1000
    ? Math.round(value).toLocaleString("en")
    : value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** A part as per cent, what is far more as a factor. */
function share(part: number | null): string {
  if (part === null) return "–";
  return part > 2 ? `${part.toFixed(1)} ×` : `${(part * 100).toFixed(1)} %`;
}
