/** `milvaion capacity` and `milvaion scaling`: how many workers are needed. */
import { printable } from "../log.ts";
import type { JsonObject } from "./api_client.ts";
import { cell, table } from "./table.ts";
import { segment, type Shown, type Verb } from "./verb.ts";

/** Option → parameter of the API. Values are checked there: only it knows what is right. */
const WHAT_IF = {
  pool: "pool",
  type: "jobType",
  window: "windowSeconds",
  load: "load",
  "max-parallel-jobs": "maxParallelJobs",
  workers: "workers",
  "average-seconds": "averageSeconds",
  "target-rate": "targetRate",
  "target-wait": "targetWaitSeconds",
  "scheduled-jobs": "scheduledJobs",
  backlog: "backlog",
  "history-days": "historyDays",
} as const;

const BOUNDS = {
  minimum: "minimum",
  maximum: "maximum",
  "target-wait": "targetWaitSeconds",
  window: "windowSeconds",
} as const;

/** Verbs on capacity. */
export const CAPACITY_VERBS: readonly Verb[] = [
  {
    name: "capacity",
    about: "Say how much the workers do, how long runs wait, how many workers are needed, and what if",
    positionals: [],
    options: [
      { name: "pool", kind: "text", value: "NAME", about: "Only this pool" },
      { name: "type", kind: "text", value: "TYPE", about: "Only this job type" },
      { name: "window", kind: "text", value: "SECONDS", about: "How far back runs are looked at (86400)" },
      { name: "load", kind: "text", value: "TIMES", about: "What if so many times as much came" },
      { name: "max-parallel-jobs", kind: "text", value: "N", about: "What if each worker had so many lanes" },
      { name: "workers", kind: "text", value: "N", about: "What if there were so many workers" },
      {
        name: "average-seconds",
        kind: "text",
        value: "SECONDS",
        about: "What if a run took so long (with --type)",
      },
      {
        name: "target-rate",
        kind: "text",
        value: "RATE",
        about: "Jobs a second that are to be done (with --type)",
      },
      { name: "target-wait", kind: "text", value: "SECONDS", about: "95 of 100 runs are to wait no longer" },
      { name: "scheduled-jobs", kind: "text", value: "N", about: "Size each server for so many jobs" },
      {
        name: "backlog",
        kind: "text",
        value: "N",
        about: "Size them for so many waiting messages; with --type, when they are done",
      },
      { name: "history-days", kind: "text", value: "DAYS", about: "Days of history to keep (30)" },
      { name: "manifest", kind: "flag", about: "Print what to apply, and nothing else" },
    ],
    example: "milvaion capacity --type SendEmailJob --target-rate 50 --manifest",
    async perform({ client, given }) {
      const { body } = await client.send("GET", "capacity", {
        query: queryOf(given.text.bind(given), WHAT_IF),
      });
      return given.flag("manifest") ? shownManifests(body) : shownCapacity(body);
    },
  },
  {
    name: "scaling",
    about: "Say how many workers a pool should have now, as a scaler is told",
    positionals: ["pool"],
    options: [
      { name: "minimum", kind: "text", value: "N", about: "Never fewer (0)" },
      { name: "maximum", kind: "text", value: "N", about: "Never more (100)" },
      {
        name: "target-wait",
        kind: "text",
        value: "SECONDS",
        about: "What waits is to be begun within so long (30)",
      },
      { name: "window", kind: "text", value: "SECONDS", about: "Over which arrivals are counted (300)" },
    ],
    example: "milvaion scaling email-worker --maximum 20",
    async perform({ client, given }) {
      const path = `pools/${segment(given.argument("pool"))}/scaling`;
      const { body } = await client.send("GET", path, { query: queryOf(given.text.bind(given), BOUNDS) });
      return shownScaling(body);
    },
  },
];

function queryOf(
  text: (option: string) => string | null,
  parameters: Readonly<Record<string, string>>,
): Record<string, string | null> {
  return Object.fromEntries(Object.entries(parameters).map(([option, name]) => [name, text(option)]));
}

function shownCapacity(body: JsonObject): Shown {
  return {
    json: body,
    text: () => {
      const pools = objects(body["pools"]);
      const connections = objects(body["connections"]);
      const types = pools.flatMap((pool) => objects(pool["types"]).map((type) => ({ pool, type })));
      const rows = types.map(({ pool, type }) => [
        cell(pool["pool"]),
        cell(type["jobType"]),
        `${cell(type["workers"])} × ${figure(type["maxParallelJobs"])}`,
        figure(type["averageSeconds"]),
        figure(type["jobsPerSecond"]),
        figure(type["demandPerSecond"]),
        partOf(type["utilisation"]),
        waitOf(type),
        figure(type["backlog"]),
        cell(pool["wantedWorkers"]),
      ]);
      const headings = [
        "POOL",
        "TYPE",
        "LANES",
        "SECONDS",
        "DOES/S",
        "COMES/S",
        "BUSY",
        "P95 WAIT",
        "WAITING",
        "WANTED",
      ];
      const isKnown = ({ type }: (typeof types)[number]) =>
        typeof type["averageSeconds"] === "number" || Number(type["backlog"]) > 0;
      const unknown = types.filter((one) => !isKnown(one)).map(({ type }) =>
        printable(cell(type["jobType"]))
      );
      const said = types.filter(isKnown).flatMap(({ pool, type }) => [
        "",
        `${printable(cell(type["jobType"]))} in ${printable(cell(pool["pool"]))}:`,
        ...sentences(type),
      ]);
      return [
        ...(rows.length === 0 ? sentences(body) : [table(headings, rows).trimEnd(), ...said]),
        ...measuredText(body["measured"]),
        ...(unknown.length === 0 ? [] : ["", `No run was measured of ${[...new Set(unknown)].join(", ")}.`]),
        "",
        connections.length === 0 ? "Servers, were this a cluster:" : "Servers:",
        ...sentences(isObject(body["sizing"]) ? body["sizing"] : {}),
        ...connections.map((one) => `  ${printable(cell(one["sentence"]))}`),
      ].join("\n") + "\n";
    },
    note: "What if: --load 2, --workers 5, --max-parallel-jobs 20. What to apply: --manifest.",
  };
}

/** A comment, for what reads it expects YAML. */
const NOTHING_TO_APPLY =
  "# Nothing to apply: no run was measured, so nobody knows how many workers are needed. Let the type run once, or give\n" +
  "# --average-seconds or --workers.\n";

function shownManifests(body: JsonObject): Shown {
  return {
    json: body,
    text: () =>
      objects(body["pools"]).flatMap(({ manifest }) => {
        if (!isObject(manifest)) return [];
        const { kubernetesPatch, commands } = manifest;
        const lines = Array.isArray(commands)
          ? commands.map((command) => `# ${printable(cell(command))}`)
          : [];
        return [
          [...lines, ...String(kubernetesPatch).trimEnd().split("\n").map(printable)].join("\n") + "\n",
        ];
      }).join("---\n") || NOTHING_TO_APPLY,
  };
}

function shownScaling(body: JsonObject): Shown {
  return {
    json: body,
    text: () => {
      const rows = objects(body["needs"]).map((need) =>
        ["replicas", "code", "jobType", "sentence"].map((name) => cell(need[name]))
      );
      return `${printable(cell(body["sentence"]))}\n` +
        (rows.length === 0 ? "" : `\n${table(["WORKERS", "BECAUSE", "TYPE", "HOW"], rows)}`);
    },
  };
}

function partOf(share: unknown): string {
  if (typeof share !== "number") return "-";
  return share > 0 && share < 0.001 ? "<0.1 %" : `${figure(share * 100)} %`;
}

/** What the figures go by. */
function measuredText(measured: unknown): readonly string[] {
  if (!isObject(measured) || Number(measured["runs"]) === 0) return [];
  const { runs, from, isCut } = measured;
  const cut = isCut === true ? "; more came before" : "";
  return [
    "",
    `Measured: the ${Number(runs).toLocaleString("en")} newest runs, due since ${
      printable(cell(from))
    }${cut}.`,
  ];
}

function waitOf({ expectedWait }: JsonObject): string {
  return isObject(expectedWait) ? `${figure(expectedWait["p95Seconds"])} s` : "-";
}

function sentences(of: JsonObject): readonly string[] {
  const said = of["sentences"];
  return Array.isArray(said) ? said.map((one) => `  ${printable(cell(one))}`) : [];
}

/** Three digits that mean something. */
function figure(value: unknown): string {
  if (typeof value !== "number") return cell(value);
  return String(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
}

function objects(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
