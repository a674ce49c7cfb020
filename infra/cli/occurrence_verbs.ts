/** `milvaion occurrences …` */
import { shownExplanation } from "./explanation.ts";
import { askBulk, BULK_OPTIONS, bulkBody } from "./bulk_verbs.ts";
import { listQuery, PAGE_OPTIONS, segment, shownDeed, shownList, shownRecord, type Verb } from "./verb.ts";

/** Verbs on occurrences. */
export const OCCURRENCE_VERBS: readonly Verb[] = [
  {
    name: "occurrences list",
    about: "List occurrences, newest due time first",
    positionals: [],
    options: [
      { name: "job", kind: "text", value: "ID", about: "Of this job" },
      { name: "type", kind: "text", value: "JOBTYPE", about: "Of jobs of this type" },
      {
        name: "status",
        kind: "text",
        value: "STATUS",
        about: "Queued, Running, Completed, …; several with commas",
      },
      { name: "from", kind: "text", value: "MOMENT", about: "Due at or after" },
      { name: "to", kind: "text", value: "MOMENT", about: "Due before" },
      ...PAGE_OPTIONS,
    ],
    example: "milvaion occurrences list --status Failed,TimedOut --limit 20",
    async perform({ client, given }) {
      const filters = { job: "jobId", type: "jobType", status: "status", from: "from", to: "to" };
      const { body } = await client.send("GET", "occurrences", { query: listQuery(given, filters) });
      return shownList(body, {
        ID: (occurrence) => occurrence["id"],
        TYPE: (occurrence) => occurrence["jobType"],
        STATUS: (occurrence) => occurrence["status"],
        DUE: (occurrence) => occurrence["scheduledFor"],
        MS: (occurrence) => occurrence["durationMs"],
        TRY: (occurrence) => `${occurrence["attempt"]}/${occurrence["maxAttempts"]}`,
        WORKER: (occurrence) => occurrence["workerId"],
        REASON: (occurrence) => occurrence["reason"],
      });
    },
  },
  {
    name: "occurrences get",
    about: "Show one occurrence with its attempts and state changes",
    positionals: ["id"],
    options: [],
    example: "milvaion occurrences get 019aaf3e-…",
    async perform({ client, given }) {
      return shownRecord((await client.send("GET", `occurrences/${segment(given.argument("id"))}`)).body);
    },
  },
  {
    name: "occurrences explain",
    about: "Say why an occurrence is not running yet, or why it ended as it did",
    positionals: ["id"],
    options: [],
    example: "milvaion occurrences explain 019aaf3e-…",
    async perform({ client, given }) {
      const path = `occurrences/${segment(given.argument("id"))}/explain`;
      return shownExplanation((await client.send("GET", path)).body);
    },
  },
  {
    name: "occurrences logs",
    about: "Show the log lines of an occurrence, oldest first",
    positionals: ["id"],
    options: [
      { name: "attempt", kind: "text", value: "NUMBER", about: "Only of the attempt with this number" },
      { name: "token", kind: "text", value: "TOKEN", about: "Only of the attempt with this token" },
      ...PAGE_OPTIONS,
    ],
    example: "milvaion occurrences logs 019aaf3e-… --attempt 2",
    async perform({ client, given }) {
      const path = `occurrences/${segment(given.argument("id"))}/logs`;
      const query = listQuery(given, { attempt: "attempt", token: "fencingToken" });
      const { body } = await client.send("GET", path, { query });
      return shownList(body, {
        AT: (line) => line["at"],
        LEVEL: (line) => line["level"],
        MESSAGE: (line) => line["message"],
        FIELDS: (line) => line["fields"],
      });
    },
  },
  {
    name: "occurrences cancel",
    about: "Cancel an occurrence: a queued one ends at once, a running one is asked to stop",
    positionals: ["id"],
    options: [{ name: "reason", kind: "text", value: "TEXT", about: "Why; kept and shown" }],
    example: `milvaion occurrences cancel 019aaf3e-… --reason "wrong recipients"`,
    async perform({ client, given }) {
      const id = given.argument("id");
      const reason = given.text("reason");
      const body = JSON.stringify(reason === null ? {} : { reason });
      const answer = (await client.send("POST", `occurrences/${segment(id)}/cancel`, { body })).body;
      const isAsked = answer["state"] === "requested";
      return shownDeed(
        answer,
        isAsked ? `Occurrence ${id} is asked to stop.` : `Occurrence ${id} is cancelled.`,
      );
    },
  },
  {
    name: "occurrences cancel-many",
    about: "Cancel many as a bulk action: a selection, or all queued and running ones that match",
    positionals: [],
    options: [
      { name: "job", kind: "text", value: "ID", about: "Of this job" },
      { name: "type", kind: "text", value: "JOBTYPE", about: "Of jobs of this type" },
      {
        name: "status",
        kind: "text",
        value: "STATUS",
        about: "Queued, Running, Unknown; several with commas (all of them)",
      },
      { name: "from", kind: "text", value: "MOMENT", about: "Due at or after" },
      { name: "to", kind: "text", value: "MOMENT", about: "Due before" },
      ...BULK_OPTIONS,
    ],
    example: "milvaion occurrences cancel-many --type SendEmailJob --status Queued --dry-run",
    perform(call) {
      const filters = { job: "jobId", type: "jobType", from: "from", to: "to" };
      return askBulk(call, "occurrences/cancel", {
        deed: "Cancel",
        body: bulkBody(call.given, filters, { status: "statuses" }),
        columns: {
          ID: (occurrence) => occurrence["id"],
          TYPE: (occurrence) => occurrence["jobType"],
          STATUS: (occurrence) => occurrence["status"],
          DUE: (occurrence) => occurrence["scheduledFor"],
        },
      });
    },
  },
];
