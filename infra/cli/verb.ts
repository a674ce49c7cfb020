/** A verb: a command that asks the API for something. Parsing, help and deed come from the same description. */
import type { ApiClient, JsonObject } from "./api_client.ts";
import type { Given, Option } from "./option.ts";
import { cell, record, table } from "./table.ts";

/** One verb, whole. */
export interface Verb {
  /** One or two words, e.g. `jobs list`. */
  readonly name: string;
  readonly about: string;
  /** Names of the arguments that must be given, in order. */
  readonly positionals: readonly string[];
  /** Name of a last argument that may be left out. */
  readonly optional?: string;
  /** Besides those that every verb has. */
  readonly options: readonly Option[];
  readonly example: string;
  /** Throws CommandFailure. */
  readonly perform: (call: VerbCall) => Promise<Shown>;
}

/** One use of a verb. */
export interface VerbCall {
  readonly client: ApiClient;
  readonly given: Given;
  /** The text of a file, or of standard input for `-`. Throws CommandFailure. */
  readonly readText: (path: string) => Promise<string>;
  /** What the person at the terminal answers to a question; null when nobody is there. */
  readonly ask: ((question: string) => Promise<string>) | null;
}

/** What a verb found, in both forms. */
export interface Shown {
  readonly json: JsonObject;
  /** For people, with newline at the end. */
  readonly text: () => string;
  /** Goes to stderr in the form for people, so that a pipe gets the table only. */
  readonly note?: string;
}

/** What every verb takes. */
export const CONNECTION_OPTIONS: readonly Option[] = [
  {
    name: "url",
    kind: "text",
    value: "ADDRESS",
    about: "The API's address (MILVAION_URL, else http://127.0.0.1:5000)",
  },
  {
    name: "token",
    kind: "text",
    value: "TOKEN",
    about: "Better in MILVAION_API_TOKEN, or in the file that MILVAION_API_TOKEN_FILE names",
  },
  {
    name: "by",
    kind: "text",
    value: "NAME",
    about: "Who is behind it, kept and shown; who is logged in when absent (USER, LOGNAME)",
  },
  {
    name: "output",
    short: "o",
    kind: "text",
    value: "FORM",
    choices: ["table", "json"],
    about: "table or json",
  },
];

/** What verbs that list take. */
export const PAGE_OPTIONS: readonly Option[] = [
  { name: "limit", kind: "number", value: "N", about: "Rows at most: 1 to 200 (50)" },
  { name: "cursor", kind: "text", value: "TEXT", about: "Goes on where the page before ended" },
];

/** The query of a list: page and filters. `filters` maps options to parameters. */
export function listQuery(
  given: Given,
  filters: Readonly<Record<string, string>> = {},
): Record<string, string | number | null> {
  const query: Record<string, string | number | null> = {
    limit: given.number("limit"),
    cursor: given.text("cursor"),
  };
  for (const [option, parameter] of Object.entries(filters)) query[parameter] = given.text(option);
  return query;
}

/** Heading → what stands below it for an item. */
export type Columns = Readonly<Record<string, (item: JsonObject) => unknown>>;

/** A page of a list as a table, with the cursor of the next. */
export function shownList(page: JsonObject, columns: Columns): Shown {
  const items = Array.isArray(page["items"]) ? page["items"] as readonly JsonObject[] : [];
  const cursor = page["nextCursor"];
  const notes = [
    ...(items.length === 0 ? ["Nothing found."] : []),
    ...(typeof cursor === "string" ? [`There is more: --cursor ${cursor}`] : []),
  ];
  return {
    json: page,
    text: () =>
      items.length === 0 ? "" : table(
        Object.keys(columns),
        items.map((item) => Object.values(columns).map((of) => cell(of(item)))),
      ),
    ...(notes.length === 0 ? {} : { note: notes.join("\n") }),
  };
}

/** One thing, with the warnings it came with. */
export function shownRecord(answer: JsonObject): Shown {
  const { warnings, ...fields } = answer;
  const said = Array.isArray(warnings) ? warnings.map((one) => `warning: ${one?.message ?? cell(one)}`) : [];
  return {
    json: answer,
    text: () => record(fields),
    ...(said.length === 0 ? {} : { note: said.join("\n") }),
  };
}

/** Something was done that answers nothing worth a table. */
export function shownDeed(answer: JsonObject, sentence: string): Shown {
  return { json: answer, text: () => sentence + "\n" };
}

/** An id as a part of a path: whatever it is, it cannot lead elsewhere. */
export function segment(id: string): string {
  // "." and ".." would be resolved away by the URL parser.
  return encodeURIComponent(id).replace(/^\.+$/, (dots) => dots.replaceAll(".", "%252E"));
}
