/**
 * The running installation, asked over its API: bottlenecks of now (`--live`), and the scaling guide's checklist before
 * and after scaling.
 */
import type { JsonObject } from "../cli/api_client.ts";
import type { Stage } from "./stage.ts";
import { CommandFailure } from "../cli/exit_code.ts";
import { proofText, useText } from "../cli/scaling_verbs.ts";
import {
  type Check,
  type CheckResult,
  type Examination,
  failed,
  type Finding,
  ok,
  unknown,
  warning,
} from "./check.ts";

/** Sends a request below `/api/v1/` and gives the answer's body. */
export type AskApi = (method: "GET" | "POST", path: string) => Promise<JsonObject>;

/** From this part of a limit on, what is nearest to it is worth a warning. */
const NEAR = 0.8;
const FEWEST_LOOKS = 3;

interface Running {
  readonly ask: AskApi;
  /** The answer of `scaling`. */
  readonly scaling: JsonObject;
  readonly replacesBaseline: boolean;
}

/** `replacesBaseline`: the baseline is recorded even where next to nothing is done now. */
export function runningExamination(
  stage: Stage,
  ask: AskApi,
  { replacesBaseline = false }: { readonly replacesBaseline?: boolean } = {},
): Examination<Running> {
  return {
    subject: "Running",
    reach: async () => ({ ask, scaling: await ask("GET", "scaling"), replacesBaseline }),
    explain: explainFailure,
    checks: stage === "before-scaling" ? BEFORE : AFTER,
    leave: () => Promise.resolve(),
  };
}

/** A line for each bottleneck of now, or one that says that there is none. */
export async function liveResults(ask: AskApi): Promise<readonly CheckResult[]> {
  let answer: JsonObject;
  try {
    answer = await ask("GET", "bottlenecks");
  } catch (error) {
    return [{ subject: "Running", check: "reachable", ...explainFailure(error as Error) }];
  }
  const found = list(answer["bottlenecks"]);
  if (found.length > 0) {
    return found.map((one) => ({ subject: "Running", check: String(one["code"]), ...findingOf(one) }));
  }
  return [{
    subject: "Running",
    check: "bottlenecks",
    ...hasLooked(answer) ?? ok(`No bottleneck. ${nearest(answer)}`),
  }];
}

/** Before: bottleneck among CPU, memory, I/O and network; throughput. Connections and disk are the servers' checks. */
const BEFORE: readonly Check<Running>[] = [
  { name: "bottleneck", look: ({ scaling }) => hasLooked(scaling) ?? bottleneck(scaling) },
  { name: "throughput", look: recordBaseline },
];

/** After: load, bottlenecks, time-outs. Pool sizes are the servers' connections. */
const AFTER: readonly Check<Running>[] = [
  { name: "load", look: ({ scaling }) => evenness(scaling) },
  { name: "bottlenecks", look: ({ scaling }) => hasLooked(scaling) ?? newOnes(scaling) },
  { name: "throughput", look: ({ scaling }) => hasLooked(scaling) ?? throughput(scaling) },
  { name: "timeouts", look: ({ scaling }) => timeouts(scaling) },
];

function bottleneck(scaling: JsonObject): Finding {
  const uses = list(scaling["resources"]);
  const [first] = uses;
  if (first === undefined) return unknown("Nothing is known of any limit.");
  const each = ["cpu", "memory", "io", "network", "lanes", "connections"].flatMap((resource) =>
    [uses.find((one) => one["resource"] === resource)].filter((one) => one !== undefined)
  );
  const message = `Nearest to its limit: ${useText(first)}. The nearest of each kind: ${
    each.map(useText).join("; ")
  }.`;
  const remedy = list(scaling["bottlenecks"])[0];
  if (Number(first["share"]) < NEAR && remedy === undefined) return ok(message);
  return warning(message, remedy === undefined ? "Scale what this belongs to first." : changesOf(remedy));
}

async function recordBaseline({ ask, scaling, replacesBaseline }: Running): Promise<Finding> {
  const early = hasLooked(scaling);
  if (early !== null) return early;
  const before = scaling["baseline"] as JsonObject | null;
  if (before !== null && scaling["throughput"] === "idle" && !replacesBaseline) {
    return warning(
      `${nowText(scaling)}: too little to compare with later, so the baseline stays: ${
        baselineText(before)
      }.`,
      "Record one under load; or this one all the same: milvaion doctor --before-scaling --replace-baseline.",
    );
  }
  const recorded = await ask("POST", "scaling/baseline");
  const message = `Baseline recorded: ${baselineText(recorded)}.` +
    (before === null ? "" : ` It takes the place of ${baselineText(before)}.`);
  if (Number(recorded["completedPerSecond"]) > 0) return ok(message);
  return warning(
    `${message} Nothing was completed meanwhile, so it says little.`,
    "Record it again under load.",
  );
}

function evenness(scaling: JsonObject): Finding {
  const pools = list(scaling["pools"]);
  if (pools.length === 0) {
    return unknown(
      "No pool of two instances or more has completed enough within ten minutes.",
      "Look again under load.",
    );
  }
  const words = pools.map((pool) => {
    const completed = list(pool["instances"]).map((one) => `${one["instanceId"]} ${one["completed"]}`).join(
      ", ",
    );
    return `${pool["workerId"]}: variation ${percent(pool["variation"])} (${completed})`;
  }).join("; ");
  if (pools.every((pool) => pool["isEven"] === true)) return ok(`Load is even. ${words}.`);
  return warning(
    `Load is not even. ${words}.`,
    "Equal Worker.MaxParallelJobs and job types for all instances of a pool; look whether one is cut off from RabbitMQ.",
  );
}

function newOnes(scaling: JsonObject): Finding {
  const baseline = scaling["baseline"] as JsonObject | null;
  if (baseline === null) {
    return unknown("No baseline to compare with.", "milvaion doctor --before-scaling records one.");
  }
  const [first, ...others] = list(scaling["newBottlenecks"]);
  if (first === undefined) {
    return ok(`No bottleneck that the baseline of ${baseline["recordedAt"]} does not name.`);
  }
  const { state, message, nextStep } = findingOf(first);
  const more = others.map((one) => ` Also: ${one["symptom"]}`).join("");
  return { state, message: `New since ${baseline["recordedAt"]}: ${message}${more}`, nextStep };
}

function throughput(scaling: JsonObject): Finding {
  const baseline = scaling["baseline"] as JsonObject | null;
  const now = nowText(scaling);
  const record = "milvaion doctor --before-scaling records one.";
  if (baseline === null) return unknown(`${now}; there is no baseline.`, record);
  const both = `${now}. Baseline: ${baselineText(baseline)}.`;
  const look =
    "milvaion bottlenecks names what holds it back; milvaion capacity says what the workers could do.";
  switch (scaling["throughput"]) {
    case "fell":
      return warning(`Less is done while ${scaling["waiting"]} runs wait: ${both}`, look);
    case "fell-per-worker": {
      const each = (one: JsonObject) =>
        short(Number(one["completedPerSecond"]) / Math.max(1, Number(one["workers"])));
      const rates = `${each(scaling)} a second, ${each(baseline)} before`;
      return warning(`Each worker does less while ${scaling["waiting"]} runs wait: ${rates}. ${both}`, look);
    }
    case "less-demand":
    case "idle":
      return ok(`Less comes, and nothing is held back: ${both}`);
    case "as-before":
      return ok(both);
    default:
      return unknown(`${both} Nothing was completed then, so there is nothing to compare with.`, record);
  }
}

function timeouts(scaling: JsonObject): Finding {
  const types = list(scaling["timeouts"]);
  const baseline = scaling["baseline"] as JsonObject | null;
  // Runs are read of ten minutes at most; time-outs of all the time since the baseline.
  const isSinceBaseline = baseline !== null && scaling["timeoutsFrom"] === baseline["recordedAt"];
  const since = baseline === null ? "within ten minutes" : "since the baseline";
  const late = types.filter((one) => Number(one["timedOut"]) > 0 || Number(one["nearLimit"]) > 0);
  if (late.length === 0) {
    const runs = `${types.reduce((sum, one) => sum + Number(one["runs"]), 0)} runs`;
    const near = "none came near its limit";
    if (isSinceBaseline) return ok(`Of ${runs} since the baseline none timed out, and ${near}.`);
    return ok(
      baseline === null
        ? `Of ${runs} of the last ten minutes none timed out, and ${near}.`
        : `None timed out since the baseline; of ${runs} of the last ten minutes ${near}.`,
    );
  }
  const words = late.map((one) =>
    `${one["jobType"]}: ${one["timedOut"]} timed out, ${one["nearLimit"]} took four fifths of ${
      one["limitSeconds"]
    } s or more`
  ).join("; ");
  const nearSince = isSinceBaseline || baseline === null ? "" : "; near their limit: within ten minutes";
  return warning(
    `${words} (${since}${nearSince}).`,
    `Raise JobConsumers__${
      late[0]?.["jobType"]
    }__ExecutionTimeoutSeconds, or find out what the runs wait for.`,
  );
}

function findingOf(found: JsonObject): Finding {
  const proofs = list(found["proof"]).map(proofText).join(", ");
  const message = `${found["symptom"]} ${found["cause"]} (${proofs})`;
  return found["severity"] === "critical"
    ? failed(message, changesOf(found))
    : warning(message, changesOf(found));
}

function changesOf(found: JsonObject): string {
  return (Array.isArray(found["changes"]) ? found["changes"] : []).join(" ");
}

/** Null when there is enough to judge by. */
function hasLooked({ looks, windowSeconds }: JsonObject): Finding | null {
  if (Number(looks) >= FEWEST_LOOKS) return null;
  return unknown(
    `The instance has looked ${looks} times in ${
      Math.round(Number(windowSeconds))
    } s: too few to say anything.`,
    "Wait some seconds, and look again.",
  );
}

function nearest(answer: JsonObject): string {
  const [first] = list(answer["resources"]);
  return first === undefined ? "Nothing is known of any limit." : `Nearest to its limit: ${useText(first)}.`;
}

function nowText(scaling: JsonObject): string {
  return baselineText({ ...scaling, recordedAt: scaling["at"] });
}

function baselineText(one: JsonObject): string {
  const rate = (name: string) => short(Number(one[name]));
  return `${rate("completedPerSecond")} runs completed a second (${rate("createdPerSecond")} created) by ${
    one["workers"]
  } workers at ${one["recordedAt"]}`;
}

/** Three digits that mean something. */
function short(value: number): number {
  return Number(value.toPrecision(3));
}

function percent(share: unknown): string {
  return `${Math.round(Number(share) * 100)} %`;
}

function explainFailure(error: Error): Finding {
  const hint = error instanceof CommandFailure ? error.hint : null;
  return failed(
    `No API instance answers: ${error.message}.`.replace(/\.\.$/, "."),
    hint ?? "Name one with --url or MILVAION_URL, and its token in MILVAION_API_TOKEN.",
  );
}

function list(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value : [];
}
