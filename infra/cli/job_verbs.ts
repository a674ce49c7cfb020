/** `milvaion jobs …` */
import type { JsonObject } from "./api_client.ts";
import { CommandFailure, EXIT } from "./exit_code.ts";
import { changedDefinition, JOB_OPTIONS, parseJson, readDefinition } from "./job_input.ts";
import { shownExplanation } from "./explanation.ts";
import type { Option } from "./option.ts";
import { cell } from "./table.ts";
import { listQuery, PAGE_OPTIONS, segment, shownDeed, shownList, shownRecord, type Verb } from "./verb.ts";

const REASON: Option = { name: "reason", kind: "text", value: "TEXT", about: "Why; kept and shown" };

/** Verbs on jobs and their schedules. */
export const JOB_VERBS: readonly Verb[] = [
  {
    name: "jobs list",
    about: "List jobs, newest first",
    positionals: [],
    options: [
      { name: "search", kind: "text", value: "TEXT", about: "A part of the name" },
      { name: "type", kind: "text", value: "JOBTYPE", about: "Jobs of this type" },
      { name: "tag", kind: "text", value: "TAG", about: "Jobs with this tag" },
      {
        name: "active",
        kind: "text",
        value: "WORD",
        choices: ["true", "false"],
        about: "Active ones: true or false",
      },
      {
        name: "paused",
        kind: "text",
        value: "WORD",
        choices: ["true", "false"],
        about: "Paused ones: true or false",
      },
      {
        name: "auto-disabled",
        kind: "text",
        value: "WORD",
        choices: ["true", "false"],
        about: "Disabled because they kept failing: true or false",
      },
      ...PAGE_OPTIONS,
    ],
    example: "milvaion jobs list --type SampleJob",
    async perform({ client, given }) {
      const filters = {
        search: "search",
        type: "jobType",
        tag: "tag",
        active: "isActive",
        paused: "isPaused",
        "auto-disabled": "isAutoDisabled",
      };
      const { body } = await client.send("GET", "jobs", { query: listQuery(given, filters) });
      return shownList(body, {
        ID: (job) => job["id"],
        NAME: (job) => job["displayName"],
        TYPE: (job) => job["jobType"],
        SCHEDULE: scheduleOf,
        NEXT: (job) => job["nextDueAt"],
        STATE: stateOf,
      });
    },
  },
  {
    name: "jobs get",
    about: "Show one job",
    positionals: ["id"],
    options: [],
    example: "milvaion jobs get 019aaf3e-… -o json",
    async perform({ client, given }) {
      return shownRecord((await client.send("GET", `jobs/${segment(given.argument("id"))}`)).body);
    },
  },
  {
    name: "jobs create",
    about: "Create a job from a file, from flags, or from a file with flags over it",
    positionals: [],
    options: JOB_OPTIONS,
    example:
      `milvaion jobs create --name Hello --type SampleJob --cron "*/5 * * * * *" --data '{"message":"hi"}'`,
    async perform(call) {
      const body = await readDefinition(call);
      if (body === null) {
        throw new CommandFailure(
          EXIT.usage,
          "jobs create was given no job",
          "Give --file, or --name, --type and --cron.",
        );
      }
      return shownRecord((await call.client.send("POST", "jobs", { body, query: saveQuery(call) })).body);
    },
  },
  {
    name: "jobs update",
    about: "Replace a job by a file, or change what the flags name; refused when somebody else was faster",
    positionals: ["id"],
    options: JOB_OPTIONS,
    example: `milvaion jobs update 019aaf3e-… --cron "0 30 2 * * *"`,
    async perform(call) {
      const path = `jobs/${segment(call.given.argument("id"))}`;
      const given = await readDefinition(call);
      if (given === null) {
        throw new CommandFailure(
          EXIT.usage,
          "jobs update was given no change",
          "Give --file, or a flag for what changes.",
        );
      }
      const { body: job, headers } = await call.client.send("GET", path);
      const body = call.given.has("file") ? given : changedDefinition(job, call.given);
      return shownRecord(
        (await call.client.send("PUT", path, {
          body,
          query: saveQuery(call),
          headers: { "if-match": headers.get("etag") ?? `"${job["version"]}"` },
        })).body,
      );
    },
  },
  {
    name: "jobs delete",
    about: "Delete a job with its history; refused while a run of it is on",
    positionals: ["id"],
    options: [],
    example: "milvaion jobs delete 019aaf3e-…",
    async perform({ client, given }) {
      const id = given.argument("id");
      await client.send("DELETE", `jobs/${segment(id)}`);
      return shownDeed({ id, deleted: true }, `Job ${id} is deleted.`);
    },
  },
  {
    name: "jobs pause",
    about: "Pause a job: its due times are recorded as paused and do not run",
    positionals: ["id"],
    options: [
      REASON,
      {
        name: "until",
        kind: "text",
        value: "MOMENT",
        about: "When it ends by itself, e.g. 2026-12-24T18:00:00Z",
      },
    ],
    example: `milvaion jobs pause 019aaf3e-… --reason "mail server moves" --until 2026-12-24T18:00:00Z`,
    async perform({ client, given }) {
      const until = given.text("until");
      const body = { ...reasonOf(given.text("reason")), ...(until === null ? {} : { until }) };
      const path = `jobs/${segment(given.argument("id"))}/pause`;
      const answer = (await client.send("POST", path, { body: JSON.stringify(body) })).body;
      return shownDeed(answer, `Job ${answer["id"]} is paused.`);
    },
  },
  {
    name: "jobs resume",
    about: "End the pause of a job",
    positionals: ["id"],
    options: [REASON],
    example: "milvaion jobs resume 019aaf3e-…",
    async perform({ client, given }) {
      const path = `jobs/${segment(given.argument("id"))}/resume`;
      const body = JSON.stringify(reasonOf(given.text("reason")));
      const answer = (await client.send("POST", path, { body })).body;
      return shownDeed(answer, `Job ${answer["id"]} goes on; next due ${cell(answer["nextDueAt"])}.`);
    },
  },
  {
    name: "jobs skip-next",
    about: "Leave out just the next due time of a job; once more changes nothing",
    positionals: ["id"],
    options: [REASON],
    example: `milvaion jobs skip-next 019aaf3e-… --reason "the bank is closed"`,
    async perform({ client, given }) {
      const path = `jobs/${segment(given.argument("id"))}/skip-next`;
      const body = JSON.stringify(reasonOf(given.text("reason")));
      const answer = (await client.send("POST", path, { body })).body;
      const then = isGiven(answer["thenDueAt"])
        ? `the next one is ${cell(answer["thenDueAt"])}`
        : "it has none after";
      return shownDeed(answer, `${cell(answer["dueAt"])} is left out; ${then}.`);
    },
  },
  {
    name: "jobs unskip",
    about: "Let the due time run that skip-next has left out",
    positionals: ["id"],
    options: [],
    example: "milvaion jobs unskip 019aaf3e-…",
    async perform({ client, given }) {
      const answer = (await client.send("DELETE", `jobs/${segment(given.argument("id"))}/skip-next`)).body;
      const sentence = isGiven(answer["dueAt"])
        ? `${cell(answer["dueAt"])} runs after all.`
        : "The job has left out none.";
      return shownDeed(answer, sentence);
    },
  },
  {
    name: "jobs enable",
    about: "Enable a job that was disabled because it kept failing; what was due meanwhile does not run",
    positionals: ["id"],
    options: [REASON],
    example: `milvaion jobs enable 019aaf3e-… --reason "the mail server is back"`,
    async perform({ client, given }) {
      const path = `jobs/${segment(given.argument("id"))}/enable`;
      const body = JSON.stringify(reasonOf(given.text("reason")));
      const answer = (await client.send("POST", path, { body })).body;
      return shownDeed(answer, `Job ${answer["id"]} is enabled; next due ${cell(answer["nextDueAt"])}.`);
    },
  },
  {
    name: "jobs trigger",
    about: "Run a job now",
    positionals: ["id"],
    options: [
      { name: "data", kind: "text", value: "JSON", about: "jobData of this run, instead of the job's" },
      REASON,
      { name: "force", kind: "flag", about: "Run although the policy is Skip and another run is on" },
      {
        name: "idempotency-key",
        kind: "text",
        value: "KEY",
        about: "The same key starts nothing twice, for 24 hours",
      },
    ],
    example: `milvaion jobs trigger 019aaf3e-… --data '{"message":"now"}'`,
    async perform({ client, given }) {
      const data = given.text("data");
      const key = given.text("idempotency-key");
      const body = {
        ...(data === null ? {} : { jobData: parseJson(data, "--data") }),
        ...reasonOf(given.text("reason")),
        ...(given.flag("force") ? { force: true } : {}),
      };
      const answer = (await client.send("POST", `jobs/${segment(given.argument("id"))}/trigger`, {
        body: JSON.stringify(body),
        ...(key === null ? {} : { headers: { "idempotency-key": key } }),
      })).body;
      const occurrence = cell(answer["occurrenceId"]);
      return {
        ...shownDeed(answer, `Occurrence ${occurrence} is accepted.`),
        note: `Watch it: milvaion occurrences get ${occurrence}`,
      };
    },
  },
  {
    name: "jobs next-runs",
    about: "Show the next due times of a job, or of a schedule that is not saved yet",
    positionals: [],
    optional: "id",
    options: [
      { name: "cron", kind: "text", value: "FIELDS", about: "Instead of an id: a schedule to try" },
      { name: "time-zone", kind: "text", value: "ZONE", about: "With --cron; UTC when absent" },
      { name: "count", kind: "number", value: "N", about: "How many: 1 to 100 (10)" },
    ],
    example: `milvaion jobs next-runs --cron "0 30 2 * * *" --time-zone Europe/Berlin`,
    async perform({ client, given }) {
      const [id, cron, count] = [given.optionalArgument("id"), given.text("cron"), given.number("count")];
      if ((id === null) === (cron === null)) {
        throw new CommandFailure(
          EXIT.usage,
          "jobs next-runs takes either an id or --cron",
          "See `milvaion help jobs next-runs`.",
        );
      }
      const timeZone = given.text("time-zone");
      const preview = {
        cronExpression: cron,
        ...(timeZone === null ? {} : { timeZone }),
        ...(count === null ? {} : { count }),
      };
      const { body } = id === null
        ? await client.send("POST", "schedules/next-runs", { body: JSON.stringify(preview) })
        : await client.send("GET", `jobs/${segment(id)}/next-runs`, { query: { count } });
      return shownList(body, {
        AT: (run) => run["at"],
        LOCAL: (run) => run["localTime"],
        OFFSET: (run) => run["offset"],
        NOTE: (run) => run["note"],
      });
    },
  },
  {
    name: "jobs explain",
    about: "Say why a job does or does not run: now, or at a due time that was or comes",
    positionals: ["id"],
    options: [
      { name: "at", kind: "text", value: "MOMENT", about: "A due time, past or coming; now when absent" },
    ],
    example: "milvaion jobs explain 019aaf3e-… --at 2026-11-24T10:00:05.000Z",
    async perform({ client, given }) {
      const path = `jobs/${segment(given.argument("id"))}/explain`;
      return shownExplanation((await client.send("GET", path, { query: { at: given.text("at") } })).body);
    },
  },
];

function saveQuery({ given }: Parameters<Verb["perform"]>[0]): Record<string, string | null> {
  return { allowUnknownType: given.flag("allow-unknown-type") ? "true" : null };
}

function reasonOf(reason: string | null): { reason?: string } {
  return reason === null ? {} : { reason };
}

function scheduleOf(job: JsonObject): string {
  if (isGiven(job["cronExpression"])) return `${job["cronExpression"]} (${cell(job["timeZone"])})`;
  return isGiven(job["executeAt"]) ? `once at ${job["executeAt"]}` : "when triggered";
}

function isGiven(value: unknown): boolean {
  return value !== null && value !== undefined;
}

function stateOf(job: Record<string, unknown>): string {
  const { autoDisabled } = job;
  if (job["isActive"] === false) return "disabled";
  if (isGiven(autoDisabled) && !isGiven((autoDisabled as Record<string, unknown>)["until"])) {
    return "auto-disabled";
  }
  return isGiven(job["pause"]) ? "paused" : "active";
}
