/** What the doctor found, for people or for programs. */
import { table } from "../cli/table.ts";
import { printable } from "../log.ts";
import type { CheckResult, CheckState } from "./check.ts";

const PLAIN = "\x1b[0m";
const COLORS: Readonly<Record<CheckState, string>> = {
  ok: "\x1b[32m",
  warning: "\x1b[33m",
  failed: "\x1b[31m",
  unknown: "\x1b[2m",
};

/** True when something must be mended before the program can work. */
export function hasFailed(results: readonly CheckResult[]): boolean {
  return results.some(({ state }) => state === "failed");
}

/** A table with the next steps below the lines they belong to, or JSON: `{ "isWell": …, "checks": […] }`. */
export function formatDoctor(
  results: readonly CheckResult[],
  output: "table" | "json",
  colors: boolean,
): string {
  if (output === "json") {
    return JSON.stringify({ isWell: !hasFailed(results), checks: results }, null, 2) + "\n";
  }
  const rows = results.map(({ state, subject, check, message }) => [state, subject, check, message]);
  const [headings = "", ...lines] = table(["STATE", "SUBJECT", "CHECK", "FOUND"], rows).trimEnd().split("\n");
  const shown = lines.flatMap((line, index) => {
    const { state = "unknown", nextStep = null } = results[index] ?? {};
    const painted = colors ? line.replace(state, COLORS[state] + state + PLAIN) : line;
    return nextStep === null ? [painted] : [painted, `         → ${printable(nextStep)}`];
  });
  return [headings, ...shown, "", summary(results)].join("\n") + "\n";
}

function summary(results: readonly CheckResult[]): string {
  const count = (state: CheckState) => results.filter((result) => result.state === state).length;
  const [failures, warnings, unknowns] = [count("failed"), count("warning"), count("unknown")];
  const words = (number: number, word: string) => number === 0 ? [] : [`${number} ${word}`];
  const plural = (number: number, word: string) => words(number, number === 1 ? word : `${word}s`);
  if (failures === 0 && warnings === 0) {
    return unknowns === 0 ? "All is well." : `Nothing is wrong that could be seen; ${unknowns} unknown.`;
  }
  const parts = [
    ...plural(failures, "failure"),
    ...plural(warnings, "warning"),
    ...words(unknowns, "unknown"),
  ];
  // With what runs among the subjects, nobody is about to start it.
  const isRunning = results.some(({ subject }) => subject === "Running");
  if (failures > 0) {
    return `${parts.join(", ")}: ${
      isRunning ? "change what failed first." : "mend what failed before you start."
    }`;
  }
  return parts.join(", ") + (isRunning ? "." : "; nothing that prevents a start.");
}
