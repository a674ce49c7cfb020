/** `milvaion failed …`: dead letters. */
import type { JsonObject } from "./api_client.ts";
import { askBulk, BULK_OPTIONS, bulkBody } from "./bulk_verbs.ts";
import { CommandFailure, EXIT } from "./exit_code.ts";
import { parseJson } from "./job_input.ts";
import type { Option } from "./option.ts";
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

const FILTER_OPTIONS: readonly Option[] = [
  { name: "job", kind: "text", value: "ID", about: "Of this job" },
  { name: "type", kind: "text", value: "JOBTYPE", about: "Of jobs of this type" },
  { name: "fingerprint", kind: "text", value: "TEXT", about: "With this error, as lists show it" },
  { name: "kind", kind: "text", value: "KIND", about: "failed, timed-out, suspect; several with commas" },
  { name: "from", kind: "text", value: "MOMENT", about: "Failed at or after" },
  { name: "to", kind: "text", value: "MOMENT", about: "Failed before" },
  {
    name: "resolved",
    kind: "text",
    value: "WORD",
    choices: ["true", "false"],
    about: "Resolved ones: true or false",
  },
];

/** Option → parameter. */
const FILTERS = {
  job: "jobId",
  type: "jobType",
  fingerprint: "fingerprint",
  from: "from",
  to: "to",
} as const;
const QUERY_FILTERS = { ...FILTERS, kind: "kind", resolved: "resolved" } as const;

const COLUMNS: Columns = {
  ID: (failed) => failed["id"],
  TYPE: (failed) => failed["jobType"],
  KIND: (failed) => failed["kind"],
  FAILED: (failed) => failed["failedAt"],
  TRIES: (failed) => failed["attempts"],
  FINGERPRINT: (failed) => failed["fingerprint"],
  RESOLVED: (failed) => (failed["resolution"] as JsonObject | null)?.["action"],
  ERROR: (failed) => `${failed["errorName"]}: ${failed["errorMessage"]}`,
};

/** Verbs on failed occurrences. */
export const FAILED_VERBS: readonly Verb[] = [
  {
    name: "failed list",
    about: "List occurrences that failed for good, newest first",
    positionals: [],
    options: [...FILTER_OPTIONS, ...PAGE_OPTIONS],
    example: "milvaion failed list --resolved false --type SendEmailJob",
    async perform({ client, given }) {
      const query = listQuery(given, QUERY_FILTERS);
      return shownList((await client.send("GET", "failed-occurrences", { query })).body, COLUMNS);
    },
  },
  {
    name: "failed groups",
    about: "Count them by their error, the largest group first",
    positionals: [],
    options: [...FILTER_OPTIONS, ...PAGE_OPTIONS],
    example: "milvaion failed groups --resolved false",
    async perform({ client, given }) {
      const query = listQuery(given, QUERY_FILTERS);
      const sampleOf = (group: JsonObject) => group["sample"] as JsonObject;
      return shownList((await client.send("GET", "failed-occurrences/groups", { query })).body, {
        FINGERPRINT: (group) => group["fingerprint"],
        COUNT: (group) => group["count"],
        JOBS: (group) => group["jobs"],
        FIRST: (group) => group["firstAt"],
        LAST: (group) => group["lastAt"],
        ERROR: (group) => `${sampleOf(group)["errorName"]}: ${sampleOf(group)["errorMessage"]}`,
      });
    },
  },
  {
    name: "failed show",
    about: "Show one with its payload, last output, resolution and replays",
    positionals: ["id"],
    options: [],
    example: "milvaion failed show 019aaf3e-…",
    async perform({ client, given }) {
      const path = `failed-occurrences/${segment(given.argument("id"))}`;
      return shownRecord((await client.send("GET", path)).body);
    },
  },
  {
    name: "failed resolve",
    about: "Say what was done about one, or about a selection or all that match",
    positionals: [],
    optional: "id",
    options: [
      ...FILTER_OPTIONS.filter(({ name }) => name !== "resolved"),
      ...BULK_OPTIONS.filter(({ name }) => name === "ids" || name === "expect"),
      {
        name: "action",
        kind: "text",
        value: "ACTION",
        choices: ["Fixed", "DataCorrected", "HandledManually", "Replayed", "Ignored", "Other"],
        about: "Fixed, DataCorrected, HandledManually, Replayed, Ignored or Other",
      },
      { name: "note", kind: "text", value: "TEXT", about: "What was found, for whoever meets it again" },
    ],
    example: `milvaion failed resolve 019aaf3e-… --action Fixed --note "the mail server is back"`,
    async perform({ client, given }) {
      const resolution = {
        action: required(given.text("action"), "action"),
        note: required(given.text("note"), "note"),
      };
      const id = given.optionalArgument("id");
      const selection = bulkBody(given, FILTERS, { kind: "kinds" });
      if (id === null) {
        const many = JSON.stringify({ ...selection, ...resolution });
        const answer = (await client.send("POST", "failed-occurrences/resolve", { body: many })).body;
        return shownDeed(answer, `${cell(answer["count"])} failed occurrences are resolved.`);
      }
      if (Object.keys(selection).length > 0) {
        throw new CommandFailure(EXIT.usage, "An id and a filter exclude each other", "Give one of them.");
      }
      const body = JSON.stringify(resolution);
      const answer = (await client.send("POST", `failed-occurrences/${segment(id)}/resolve`, { body })).body;
      return shownDeed(answer, `Failed occurrence ${id} is resolved.`);
    },
  },
  {
    name: "failed reopen",
    about: "Take its resolution back",
    positionals: ["id"],
    options: [],
    example: "milvaion failed reopen 019aaf3e-…",
    async perform({ client, given }) {
      const id = given.argument("id");
      const answer = (await client.send("POST", `failed-occurrences/${segment(id)}/reopen`)).body;
      return shownDeed(answer, `Failed occurrence ${id} is open.`);
    },
  },
  {
    name: "failed replay",
    about: "Run one again as a new occurrence, or many as a bulk action: a selection, or all that match",
    positionals: [],
    optional: "id",
    options: [
      { name: "data", kind: "text", value: "JSON", about: "With an id: instead of the payload that failed" },
      ...FILTER_OPTIONS,
      ...BULK_OPTIONS,
      { name: "no-canary", kind: "flag", about: "All at once, and go on when the same error returns" },
      { name: "force", kind: "flag", about: "Run although the policy is Skip and another run is on" },
    ],
    example: "milvaion failed replay --fingerprint 75d6a04a1cb02430 --dry-run",
    perform: (call) => call.given.optionalArgument("id") === null ? replayMany(call) : replayOne(call),
  },
];

async function replayOne({ client, given }: VerbCall): Promise<Shown> {
  const id = given.optionalArgument("id") ?? "";
  const many = [...Object.keys(QUERY_FILTERS), "ids", "dry-run", "expect", "rate", "no-canary"];
  const stray = many.find((option) => given.has(option));
  if (stray !== undefined) {
    throw new CommandFailure(EXIT.usage, `--${stray} is for many`, "Give an id, or a filter, not both.");
  }
  const data = given.text("data");
  const reason = given.text("reason");
  const key = given.text("idempotency-key");
  const body = {
    ...(data === null ? {} : { jobData: parseJson(data, "--data") }),
    ...(reason === null ? {} : { reason }),
    ...(given.flag("force") ? { force: true } : {}),
  };
  const answer = (await client.send("POST", `failed-occurrences/${segment(id)}/replay`, {
    body: JSON.stringify(body),
    ...(key === null ? {} : { headers: { "idempotency-key": key } }),
  })).body;
  const occurrence = cell(answer["occurrenceId"]);
  return {
    ...shownDeed(answer, `Occurrence ${occurrence} replays ${id}.`),
    note: `Watch it: milvaion occurrences get ${occurrence}`,
  };
}

function replayMany(call: VerbCall): Promise<Shown> {
  const { given } = call;
  if (given.has("data")) {
    throw new CommandFailure(EXIT.usage, "--data is for one", "Give an id with it.");
  }
  const body = bulkBody(given, FILTERS, { kind: "kinds" });
  const resolved = given.text("resolved");
  const filter = body["filter"] as Record<string, unknown> | undefined;
  return askBulk(call, "failed-occurrences/replay", {
    columns: COLUMNS,
    deed: "Replay",
    body: {
      ...body,
      ...(resolved === null ? {} : { filter: { ...filter, resolved: resolved === "true" } }),
      ...(given.flag("no-canary") ? { canary: false } : {}),
      ...(given.flag("force") ? { force: true } : {}),
    },
  });
}

function required(value: string | null, option: string): string {
  if (value !== null) return value;
  throw new CommandFailure(EXIT.usage, `--${option} is missing`, "See `milvaion help failed resolve`.");
}
