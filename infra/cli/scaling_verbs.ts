/** `milvaion bottlenecks`: what is too much now, and what to change. */
import { printable } from "../log.ts";
import type { JsonObject } from "./api_client.ts";
import { bytesText } from "../../actors/domain/capacity_words.ts";
import { cell } from "./table.ts";
import type { Shown, Verb } from "./verb.ts";

export const SCALING_VERBS: readonly Verb[] = [
  {
    name: "bottlenecks",
    about: "Name bottlenecks: symptom, the numbers that prove it, likely cause, what to change",
    positionals: [],
    options: [],
    example: "milvaion bottlenecks",
    async perform({ client }) {
      return shownBottlenecks((await client.send("GET", "bottlenecks")).body);
    },
  },
];

function shownBottlenecks(answer: JsonObject): Shown {
  const found = list(answer["bottlenecks"]);
  const [nearest] = list(answer["resources"]);
  const looked = `Looked ${cell(answer["looks"])} times in ${Math.round(Number(answer["windowSeconds"]))} s.`;
  const near = nearest === undefined ? "" : ` Nearest to its limit: ${useText(nearest)}.`;
  return {
    json: answer,
    text: () => found.length === 0 ? "No bottleneck.\n" : found.map(bottleneckText).join("\n"),
    note: looked + near,
  };
}

/** Symptom first, the numbers below it, then cause and changes. */
export function bottleneckText(found: JsonObject): string {
  const lines = [
    `${cell(found["severity"])}: ${cell(found["symptom"])}`,
    ...list(found["proof"]).map((one) => `  ${proofText(one)}`),
    `  likely cause: ${cell(found["cause"])}`,
    ...(Array.isArray(found["changes"]) ? found["changes"] : []).map((change) => `  → ${cell(change)}`),
  ];
  return lines.map(printable).join("\n") + "\n";
}

export function proofText({ name, value, unit, limit }: JsonObject): string {
  const against = limit === null ? "" : `, limit ${cell(limit)}`;
  return `${cell(name)} ${cell(value)} ${cell(unit)}${against}`;
}

/** `cpu of API instance x: 0.8 of 1 processors, 80 %`, and what is to be said about the figure. */
export function useText({ resource, place, used, limit, unit, share, note }: JsonObject): string {
  const amounts = unit === "%" ? "" : `${amountsOf(used, limit, unit)}, `;
  return `${cell(resource)} of ${cell(place)}: ${amounts}${short(Number(share) * 100)} %${
    typeof note === "string" ? ` (${note})` : ""
  }`;
}

function amountsOf(used: unknown, limit: unknown, unit: unknown): string {
  if (unit === "bytes") return `${bytesText(Number(used))} of ${bytesText(Number(limit))}`;
  return `${short(used)} of ${short(limit)} ${cell(unit)}`;
}

/** Three digits that mean something. */
function short(value: unknown): string {
  return Number(Number(value).toPrecision(3)).toLocaleString("en");
}

function list(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value : [];
}
