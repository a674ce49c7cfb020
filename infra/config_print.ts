/** `config print`: each value and where it came from. */
import { table } from "./cli/table.ts";
import type { SourcedValue } from "./config.ts";

/** The configuration for people, one key a line, or as JSON by path. Secrets are masked already. */
export function printConfig(sources: ReadonlyMap<string, SourcedValue>, output: "table" | "json"): string {
  if (output === "json") return JSON.stringify(Object.fromEntries(sources), null, 2) + "\n";
  const rows = [...sources].map(([path, { value, source }]) => [
    path,
    value === null ? "-" : typeof value === "string" ? value : JSON.stringify(value),
    source,
  ]);
  return table(["KEY", "VALUE", "FROM"], rows);
}
