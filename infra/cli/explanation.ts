/** An explanation for a terminal: the sentence first, then what is behind it. */
import type { JsonObject } from "./api_client.ts";
import { cell, table } from "./table.ts";
import type { Shown } from "./verb.ts";
import { printable } from "../log.ts";

/** Shows the explanation of a job or an occurrence. */
export function shownExplanation(answer: JsonObject): Shown {
  return {
    json: answer,
    text: () => {
      const { verdict, sentence, note, last } = answer;
      const notes = typeof note === "string" ? [`Note: ${printable(note)}`] : [];
      const ended = isObject(last) ? [`Last run: ${printable(cell(last["sentence"]))}`] : [];
      return [
        `${printable(cell(verdict))}: ${printable(cell(sentence))}`,
        ...notes,
        ...section("evidence", answer, ["kind", "id", "at"]),
        ...section("causes", answer, ["code", "since", "until", "sentence"]),
        ...section("next", answer, ["at", "code", "sentence", "note"]),
        ...ended,
      ].join("\n") + "\n";
    },
  };
}

/** A list of the answer as a table under a blank line; nothing when it is empty. */
function section(name: string, answer: JsonObject, columns: readonly string[]): readonly string[] {
  const items = answer[name];
  if (!Array.isArray(items) || items.length === 0) return [];
  const headings = columns.map((column) => column.toUpperCase());
  const rows = items.filter(isObject).map((item) => columns.map((column) => cell(item[column])));
  return ["", table(headings, rows).trimEnd(), ...(name === "next" ? [""] : [])];
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
