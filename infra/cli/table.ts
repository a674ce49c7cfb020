/** Plain tables for a terminal. */
import { printable } from "../log.ts";

const GAP = "  ";

/** Rows under headings, columns as wide as their widest cell; the last one is not padded. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => widthOf(line[column] ?? ""))));
  return lines.map((line) => line.map((cell, column) => pad(cell, widths[column] ?? 0)).join(GAP).trimEnd())
    .join("\n") + "\n";
}

/** One thing as lines of name and value; nested values as JSON. */
export function record(fields: Readonly<Record<string, unknown>>): string {
  const shown = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => widthOf(printable(name))));
  return shown.map(([name, value]) => `${pad(printable(name), width)}${GAP}${printable(cell(value))}\n`).join(
    "",
  );
}

/** A value in a cell: text as it is, nothing as a dash, the rest as JSON. */
export function cell(value: unknown): string {
  if (value === null || value === undefined || value === "") return "-";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)));
}

/** Characters as a reader counts them. */
function widthOf(text: string): number {
  return [...text].length;
}
