/**
 * Cron expressions: what may be written. Which local times match is for `local_cron.ts` to say, and at which moments
 * they come for `zoned_cron.ts`.
 *
 * The dialect: 5 fields (minute, hour, day of month, month, day of week) or 6 (second first). Each is a star, or a
 * list of values, ranges `a-b` and steps: `a-b/n`, `a/n` (from a on), or star and step.
 *
 *   names          JAN…DEC, SUN…SAT, in any case; 0 and 7 are Sunday
 *   day of month   L (the last), LW (the last weekday), 15W (the weekday nearest the 15th), ?
 *   day of week    5#2 (the second Friday), 5L (the last Friday), ?
 *   any field      H, H(a-b), H/n, H(a-b)/n: values fixed by the job's id, so that many jobs spread
 *   macros         @yearly @annually @monthly @weekly @daily @midnight @hourly
 *
 * When day of month and day of week are both restricted, either will do, as in Unix.
 */
import { CronExpressionParser } from "cron-parser";
import { localCron } from "./local_cron.ts";
import { type Problem, shown } from "./problem.ts";

/** Longer expressions are refused before they are looked at. */
export const MAX_CRON_LENGTH = 256;

interface FieldRule {
  readonly name: string;
  /** What cron-parser calls it. */
  readonly key: "second" | "minute" | "hour" | "dayOfMonth" | "month" | "dayOfWeek";
  readonly from: number;
  readonly to: number;
  readonly names: readonly string[];
  /** Where `H` lies when no range is given: where each month, and each day of the week once, has it. */
  readonly hash: readonly [number, number];
  readonly forms: readonly string[];
  readonly example: string;
}

const PLAIN_FORMS = ["*", "*/n", "a-b", "a-b/n", "a,b", "H"];
const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: readonly FieldRule[] = [
  field("second", "second", 0, 59, "0 */5 * * * * (each five minutes, at second 0)"),
  field("minute", "minute", 0, 59, "*/15 * * * * (each quarter of an hour)"),
  field("hour", "hour", 0, 23, "0 9-17 * * * (each hour from 09:00 to 17:00)"),
  {
    ...field("day of month", "dayOfMonth", 1, 31, "0 6 L * * (06:00 on the last day of the month)"),
    hash: [1, 28],
    forms: [...PLAIN_FORMS, "?", "L", "LW", "15W"],
  },
  { ...field("month", "month", 1, 12, "0 6 1 JAN,JUL * (06:00 on 1 January and 1 July)"), names: MONTHS },
  {
    ...field("day of week", "dayOfWeek", 0, 7, "0 9 * * MON-FRI (09:00 on working days)"),
    names: DAYS,
    hash: [0, 6],
    forms: [...PLAIN_FORMS, "?", "5L", "5#2"],
  },
];

function field(name: string, key: FieldRule["key"], from: number, to: number, example: string): FieldRule {
  return { name, key, from, to, names: [], hash: [from, to], forms: PLAIN_FORMS, example };
}

const MACROS: Readonly<Record<string, string | undefined>> = {
  "@YEARLY": "0 0 0 1 1 *",
  "@ANNUALLY": "0 0 0 1 1 *",
  "@MONTHLY": "0 0 0 1 * *",
  "@WEEKLY": "0 0 0 * * 0",
  "@DAILY": "0 0 0 * * *",
  "@MIDNIGHT": "0 0 0 * * *",
  "@HOURLY": "0 0 * * * *",
};

/** What other dialects have and this one has not, with what to do instead. */
const FOREIGN: readonly { readonly token: RegExp; readonly remedy: string }[] = [
  {
    token: /^@\S*/i,
    remedy: `Known are ${
      Object.keys(MACROS).join(" ").toLowerCase()
    }. What is to run when a program starts, it can trigger.`,
  },
  { token: /(?:CRON_)?TZ=\S*/i, remedy: "Give the zone in the field timeZone." },
  {
    token: /\bL-\d+\S*/i,
    remedy: "Days before the last cannot be counted; L, LW or a day such as 28 can be written.",
  },
  { token: /\S*~\S*/, remedy: "Take H, or H(a-b): a value fixed by the job's id." },
  { token: /\S*\+\S*/, remedy: "Day of month and day of week are joined by OR; AND cannot be written." },
];

/** An expression that can be computed with, or everything that is wrong with it. */
export type CronAnswer =
  /** `resolved` has six fields; `H` and macros are replaced by what they stand for. */
  | { readonly ok: true; readonly resolved: string }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Reads an expression. `seed` (the job's id) decides what `H` stands for: the same seed gives the same times. */
export function parseCron(expression: string, seed: string): CronAnswer {
  if (expression.length > MAX_CRON_LENGTH) {
    const message =
      `The expression has ${expression.length} characters; at most ${MAX_CRON_LENGTH} are read.`;
    return refuse([problem("cron_too_long", message, expression)]);
  }
  const macro = MACROS[expression.trim().toUpperCase()];
  if (macro !== undefined) return { ok: true, resolved: macro };
  for (const { token, remedy } of FOREIGN) {
    const found = token.exec(expression.trim());
    if (found !== null) {
      return refuse([problem("cron_unsupported", `"${found[0]}" is not supported. ${remedy}`, found[0])]);
    }
  }

  const written = [...expression.matchAll(/\S+/g)];
  if (written.length !== 5 && written.length !== 6) {
    const message =
      `A cron expression has 5 fields (minute hour day-of-month month day-of-week) or 6 (second first); ` +
      `this one has ${written.length}. Example: 0 9 * * MON-FRI (09:00 on working days).`;
    return refuse([problem("cron_invalid", message, expression)]);
  }
  const rules = FIELDS.slice(FIELDS.length - written.length);
  const problems: Problem[] = [];
  const resolved = rules.map((rule, index) => {
    const match = written[index];
    let position = (match?.index ?? 0) + 1;
    return (match?.[0] ?? "").split(",").map((item, _, items) => {
      const answer = resolveItem(item.toUpperCase(), rule, { seed, isAlone: items.length === 1 });
      if (!answer.ok) {
        problems.push(itemProblem({ item, rule, index, position, fields: rules.length, why: answer.why }));
      }
      position += item.length + 1;
      return answer.ok ? answer.text : "";
    }).join(",");
  });
  if (problems.length > 0) return refuse(problems);
  if (resolved.length === 5) resolved.unshift("0");
  return acceptedByCroner(resolved.join(" "), expression);
}

/** croner has the last word: what it cannot read must not be stored. */
function acceptedByCroner(resolved: string, expression: string): CronAnswer {
  try {
    localCron(resolved);
    return { ok: true, resolved };
  } catch (error) {
    return refuse([problem("cron_invalid", (error as Error).message, expression)]);
  }
}

type ItemAnswer = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly why: string };

function resolveItem(
  item: string,
  rule: FieldRule,
  context: { readonly seed: string; readonly isAlone: boolean },
): ItemAnswer {
  if (item === "") return wrong("it is empty");
  if (item === "*") return { ok: true, text: item };
  const hash = /^H(?:\((\d+)-(\d+)\))?(?:\/(\d+))?$/.exec(item);
  if (hash !== null) return resolveHash(hash, rule, context.seed);
  const special = resolveSpecial(item, rule, context.isAlone);
  if (special !== null) return special;

  const [range = "", step, ...rest] = item.split("/");
  if (rest.length > 0) return wrong("it has more than one step");
  const [firstText = "", lastText, ...more] = range === "*"
    ? [`${rule.from}`, `${rule.to}`]
    : range.split("-");
  if (more.length > 0) return wrong("it is no range");
  const first = valueOf(firstText, rule);
  const last = lastText === undefined ? first : valueOf(lastText, rule, true);
  if (first === null || last === null) return wrong(`it is not within ${rule.from}-${rule.to}`);
  if (first > last) return wrong("its range runs backwards");
  if (step === undefined) return { ok: true, text: item };

  const why = wrongStep(step, rule);
  if (why !== null) return wrong(why);
  if (range === "*") return { ok: true, text: item };
  // `5/15` counts on from 5 to the end of the field, as Quartz has it; croner wants the end written.
  const end = lastText === undefined ? fieldEnd(rule) : last;
  return { ok: true, text: `${first}-${end}/${Number(step)}` };
}

/** `?`, and the forms that only days have; null when the item is none of them. */
function resolveSpecial(item: string, rule: FieldRule, isAlone: boolean): ItemAnswer | null {
  const isDay = rule.key === "dayOfMonth";
  const isWeekday = rule.key === "dayOfWeek";
  const accepted: ItemAnswer = { ok: true, text: item };
  if (item === "?" && (isDay || isWeekday)) {
    return isAlone ? { ok: true, text: "*" } : wrong("? stands alone");
  }
  if (isDay && item === "L") return accepted;
  if (isDay && item === "LW") return isAlone ? accepted : wrong("LW stands alone");
  if (isDay && /^\d{1,2}W$/.test(item)) {
    return valueOf(item.slice(0, -1), rule) === null ? wrong("there is no such day") : accepted;
  }
  if (!isWeekday) return null;
  const nth = /^([A-Z]{3}|\d)(?:L|#(\d+))$/.exec(item);
  if (nth === null) return null;
  const [, day = "", count] = nth;
  if (valueOf(day, rule) === null) return wrong("there is no such day of the week");
  return count === undefined || (Number(count) >= 1 && Number(count) <= 5)
    ? accepted
    : wrong("a month has a day of the week at most 5 times");
}

/** A number, or a name of the field; null when it is neither or out of range. */
function valueOf(text: string, rule: FieldRule, isLast = false): number | null {
  const named = rule.names.indexOf(text);
  // SUN ends a range as 7, so that FRI-SUN can be written.
  if (named === 0 && isLast && rule.key === "dayOfWeek") return 7;
  if (named >= 0) return named + rule.from;
  if (!/^\d{1,2}$/.test(text)) return null;
  const value = Number(text);
  return value >= rule.from && value <= rule.to ? value : null;
}

/** The last value that a step may reach: 7 would be Sunday a second time. */
function fieldEnd(rule: FieldRule): number {
  return rule.key === "dayOfWeek" ? 6 : rule.to;
}

function wrongStep(step: string, rule: FieldRule): string | null {
  const most = fieldEnd(rule) - rule.from + 1;
  const isStep = /^\d{1,2}$/.test(step) && Number(step) >= 1 && Number(step) <= most;
  return isStep ? null : `its step is not within 1-${most}`;
}

/** cron-parser draws the values; each field has its own draw, so that `H H * * *` is not a diagonal. */
function resolveHash(match: RegExpExecArray, rule: FieldRule, seed: string): ItemAnswer {
  const [, fromText, toText, step] = match;
  const from = fromText === undefined ? rule.hash[0] : Number(fromText);
  const to = toText === undefined ? rule.hash[1] : Number(toText);
  if (from < rule.from || to > fieldEnd(rule)) {
    return wrong(`its range is not within ${rule.from}-${fieldEnd(rule)}`);
  }
  if (from > to) return wrong("its range runs backwards");
  const why = step === undefined ? null : wrongStep(step, rule);
  if (why !== null) return wrong(why);

  const item = step === undefined ? `H(${from}-${to})` : `H(${from}-${to})/${step}`;
  const expression = FIELDS.map((other) => other === rule ? item : "*").join(" ");
  const values = CronExpressionParser.parse(expression, { hashSeed: seed }).fields[rule.key].values.map(
    Number,
  );
  const [first = from] = values;
  // A step stays a step: it makes an interval of the pattern (see `isFixedTime`).
  return { ok: true, text: values.length === 1 ? `${first}` : `${first}-${to}/${step}` };
}

function wrong(why: string): ItemAnswer {
  return { ok: false, why };
}

function itemProblem(found: {
  readonly item: string;
  readonly rule: FieldRule;
  readonly index: number;
  readonly position: number;
  readonly fields: number;
  readonly why: string;
}): Problem {
  const { item, rule, why } = found;
  const range = rule.names.length > 0
    ? `${rule.from}-${rule.to} or ${rule.names[0]}-${rule.names.at(-1)}`
    : `${rule.from}-${rule.to}`;
  const message =
    `Field ${found.index + 1} of ${found.fields} (${rule.name}), at character ${found.position}: "${
      shown(item)
    }" cannot ` +
    `be used, ${why}. Allowed: ${range}, as ${rule.forms.join(" ")}. Example: ${rule.example}.`;
  return { ...problem("cron_invalid", message, item), allowed: [range, ...rule.forms] };
}

function problem(code: string, message: string, given: string): Problem {
  return { field: "cronExpression", code, message, given: shown(given) };
}

function refuse(problems: readonly Problem[]): CronAnswer {
  return { ok: false, problems };
}
