/** `milvaion bulk …`, and what the verbs that make bulk actions have in common. */
import type { JsonObject } from "./api_client.ts";
import { CommandFailure, EXIT } from "./exit_code.ts";
import type { Given, Option } from "./option.ts";
import { cell } from "./table.ts";
import {
  type Columns,
  listQuery,
  PAGE_OPTIONS,
  segment,
  type Shown,
  shownDeed,
  shownList,
  shownRecord,
  type Verb,
  type VerbCall,
} from "./verb.ts";

/** Options of every verb that makes a bulk action. */
export const BULK_OPTIONS: readonly Option[] = [
  { name: "ids", kind: "text", value: "A,B", about: "These, instead of what a filter matches" },
  { name: "dry-run", kind: "flag", about: "Only count what matches and show the first of it" },
  {
    name: "expect",
    kind: "number",
    value: "N",
    about: "Refuse when another number matches; needed above 100 unless a terminal can be asked",
  },
  { name: "rate", kind: "number", value: "N", about: "Begin at most this many a second: 1 to 1000 (10)" },
  { name: "reason", kind: "text", value: "TEXT", about: "Why; kept and shown" },
  {
    name: "idempotency-key",
    kind: "text",
    value: "KEY",
    about: "The same key starts nothing twice, for 24 hours",
  },
];

/** The body of a request for a bulk action. `filters` maps options to fields of the filter. */
export function bulkBody(
  given: Given,
  filters: Readonly<Record<string, string>>,
  lists: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const filter: Record<string, unknown> = {};
  for (const [option, field] of Object.entries(filters)) {
    const value = given.text(option);
    if (value !== null) filter[field] = value;
  }
  for (const [option, field] of Object.entries(lists)) {
    const value = given.text(option);
    if (value !== null) filter[field] = listOf(value);
  }
  const ids = given.text("ids");
  const reason = given.text("reason");
  return {
    ...(ids === null ? {} : { ids: listOf(ids) }),
    ...(Object.keys(filter).length > 0 ? { filter } : {}),
    ...(given.flag("dry-run") ? { dryRun: true } : {}),
    ...(given.has("expect") ? { expectedCount: given.number("expect") } : {}),
    ...(given.has("rate") ? { ratePerSecond: given.number("rate") } : {}),
    ...(reason === null ? {} : { reason }),
  };
}

/** What a bulk action is about. */
interface BulkOrder {
  readonly body: Readonly<Record<string, unknown>>;
  /** Of the table that shows the first of them. */
  readonly columns: Columns;
  /** What is done to them, as in "Cancel them?". */
  readonly deed: string;
}

/**
 * Asks for a bulk action, or for its dry run. At a terminal it counts first what a filter matches, and goes on when the
 * person there says yes to that number. Throws CommandFailure.
 */
export async function askBulk(call: VerbCall, path: string, order: BulkOrder): Promise<Shown> {
  const { client, given } = call;
  const { body, columns } = order;
  if (body["ids"] === undefined && body["filter"] === undefined) {
    throw new CommandFailure(
      EXIT.usage,
      "Nothing says what it is about",
      "Give a filter, or --ids. Without any it would mean everything there is.",
    );
  }
  const key = given.text("idempotency-key");
  const count = isSaidBeforehand(given) ? null : await countMeant(call, path, order);
  const answer = (await client.send("POST", path, {
    body: JSON.stringify(count === null ? body : { ...body, expectedCount: count }),
    ...(key === null ? {} : { headers: { "idempotency-key": key } }),
  })).body;
  if (given.flag("dry-run")) {
    const shown = shownList({ ...answer, items: answer["sample"] }, columns);
    const [count, most] = [Number(answer["count"]), Number(answer["most"])];
    const next = count > most
      ? ` One action takes ${most} at most: narrow it, e.g. with --from and --to.`
      : count > 0
      ? ` To do it: --expect ${count}.`
      : "";
    return {
      json: answer,
      text: shown.text,
      note: `${cell(answer["count"])} match. Nothing was done.${next}`,
    };
  }
  const id = cell(answer["id"]);
  return {
    ...shownDeed(answer, `Bulk action ${id} is under way over ${cell(answer["total"])}.`),
    note: `Watch it: milvaion bulk show ${id}`,
  };
}

/** Whether there is no question to ask; a script that wants JSON, or repeats a key, is asked none. */
function isSaidBeforehand(given: Given): boolean {
  return ["ids", "dry-run", "expect", "idempotency-key"].some((option) => given.has(option)) ||
    given.text("output") === "json";
}

/** The number of matches that the person at the terminal said yes to; null when there is nobody, or nothing, to ask. */
async function countMeant(
  { client, ask }: VerbCall,
  path: string,
  { body, columns, deed }: BulkOrder,
): Promise<number | null> {
  if (ask === null) return null;
  const found = (await client.send("POST", path, { body: JSON.stringify({ ...body, dryRun: true }) })).body;
  const [count, most] = [Number(found["count"]), Number(found["most"])];
  if (count === 0 || count > most) return null;
  const first = shownList({ ...found, items: found["sample"] }, columns).text();
  const said = await ask(`${first}${count} match. ${deed} ${count === 1 ? "it" : "them"}? [y/N] `);
  if (/^y(es)?$/i.test(said)) return count;
  throw new CommandFailure(EXIT.refused, "Nothing was done", `Without a question: --expect ${count}.`);
}

function listOf(text: string): readonly string[] {
  return text.split(",").map((one) => one.trim()).filter((one) => one !== "");
}

/** Verbs on bulk actions. */
export const BULK_VERBS: readonly Verb[] = [
  {
    name: "bulk list",
    about: "List bulk actions, newest first",
    positionals: [],
    options: PAGE_OPTIONS,
    example: "milvaion bulk list",
    async perform({ client, given }) {
      const { body } = await client.send("GET", "bulk-actions", { query: listQuery(given) });
      return shownList(body, {
        ID: (action) => action["id"],
        KIND: (action) => action["kind"],
        STATE: (action) => action["state"],
        DONE: (action) => `${progressOf(action)["done"]}/${action["total"]}`,
        FAILED: (action) => progressOf(action)["failed"],
        SKIPPED: (action) => progressOf(action)["skipped"],
        ON: (action) => progressOf(action)["on"],
        CREATED: (action) => action["createdAt"],
        WHY: (action) => action["stateReason"] ?? action["reason"],
      });
    },
  },
  {
    name: "bulk show",
    about: "Show one bulk action with its progress",
    positionals: ["id"],
    options: [],
    example: "milvaion bulk show 019aaf3e-…",
    async perform({ client, given }) {
      return shownRecord((await client.send("GET", `bulk-actions/${segment(given.argument("id"))}`)).body);
    },
  },
  command("pause", "Pause a bulk action: nothing further begins"),
  command("resume", "Go on with a paused bulk action"),
  command("cancel", "Cancel a bulk action: what has begun goes on to its end"),
];

function command(name: string, about: string): Verb {
  return {
    name: `bulk ${name}`,
    about,
    positionals: ["id"],
    options: [],
    example: `milvaion bulk ${name} 019aaf3e-…`,
    async perform({ client, given }) {
      const id = given.argument("id");
      const { body } = await client.send("POST", `bulk-actions/${segment(id)}/${name}`);
      return shownDeed(body, `Bulk action ${id} is ${cell(body["state"])}.`);
    },
  };
}

function progressOf(action: JsonObject): JsonObject {
  return (action["progress"] ?? {}) as JsonObject;
}
