/**
 * Due times against an oracle that shares nothing with the code under test: it walks every minute (or second) of
 * real time, asks `Intl.DateTimeFormat` what the clocks show, and matches the pattern itself.
 */
import { assert, assertEquals } from "@std/assert";
import { Cron } from "croner";
import fc from "fast-check";
import { localCron } from "./local_cron.ts";
import { nextZoned, previousZoned, type ZoneRules } from "./zoned_cron.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR_2026 = [Date.UTC(2026, 0, 1), Date.UTC(2027, 0, 1)] as const;

type Rules = Omit<ZoneRules, "timeZone">;

const ALL_RULES: readonly Rules[] = [
  { gap: "RunAtNextValid", fold: "First" },
  { gap: "RunAtNextValid", fold: "Both" },
  { gap: "Skip", fold: "First" },
  { gap: "Skip", fold: "Both" },
];
const [DEFAULT_RULES = { gap: "RunAtNextValid", fold: "First" }] = ALL_RULES;

// ------------------------------------------------------------------------------------------------- the oracle

/** What the clocks of a zone show at each tick of a span, as milliseconds. */
interface Walk {
  readonly from: number;
  readonly tick: number;
  readonly shown: Float64Array;
}

const QUARTER = 15 * MINUTE;
/** The walk starts this much earlier, to know what was shown before. */
const RUN_UP = 36 * HOUR;

/** Walks [from, to). No zone has changed within a quarter of an hour since 1972, so the clocks are read once in each. */
function walk(
  zone: string,
  span: { readonly from: number; readonly to: number; readonly tick: number },
): Walk {
  const fields = {
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  } as const;
  const format = new Intl.DateTimeFormat("en-GB", { ...fields, timeZone: zone, hourCycle: "h23" });
  const { tick } = span;
  const from = span.from - RUN_UP;
  const shown = new Float64Array((span.to - from) / tick);
  for (let at = from; at < span.to; at += QUARTER) {
    const [day = 0, month = 0, year = 0, hour = 0, minute = 0] = (format.format(at).match(/\d+/g) ?? []).map(
      Number,
    );
    const clock = Date.UTC(year, month - 1, day, hour, minute);
    for (let into = 0; into < QUARTER && at + into < span.to; into += tick) {
      shown[(at + into - from) / tick] = clock + into;
    }
  }
  return { from, tick, shown };
}

interface Matcher {
  readonly isStated: boolean;
  matches(local: number): boolean;
}

const NAMES = "SUN MON TUE WED THU FRI SAT".split(" ");

function matcher(expression: string): Matcher {
  const [second = "", minute = "", hour = "", day = "", month = "", weekday = ""] = expression.split(" ");
  const days = new Map<number, boolean>();
  const months = values(month, 1, 12);
  const inDayMatches = new Uint8Array(DAY / 1000);
  for (const h of values(hour, 0, 23)) {
    for (const m of values(minute, 0, 59)) {
      for (const s of values(second, 0, 59)) inDayMatches[h * 3600 + m * 60 + s] = 1;
    }
  }

  function dayMatches(date: Date): boolean {
    if (!months.has(date.getUTCMonth() + 1)) return false;
    const byDay = day.split(",").some((item) => monthDayMatches(item, date));
    const byWeekday = weekday.split(",").some((item) => weekdayMatches(item, date));
    if (day === "*") return byWeekday;
    return weekday === "*" ? byDay : byDay || byWeekday;
  }

  return {
    isStated: !/[*/]/.test(second + minute + hour),
    matches(local) {
      const inDay = ((local % DAY) + DAY) % DAY;
      if (inDayMatches[inDay / 1000] !== 1) return false;
      const start = local - inDay;
      let isDay = days.get(start);
      if (isDay === undefined) {
        isDay = dayMatches(new Date(start));
        days.set(start, isDay);
      }
      return isDay;
    },
  };
}

function values(text: string, from: number, to: number): ReadonlySet<number> {
  const found = new Set<number>();
  for (const item of text.split(",")) {
    const [range = "", step = "1"] = item.split("/");
    const [first = from, last = first] = range === "*" ? [from, to] : range.split("-").map(Number);
    for (let value = first; value <= last; value += Number(step)) found.add(value);
  }
  return found;
}

function lastDayOf(date: Date): number {
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
}

/** The working day of this month nearest to a day of it. */
function nearestWorkingDay(date: Date, day: number): number {
  const isWorking = (candidate: number): boolean => {
    const weekday = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), candidate)).getUTCDay();
    return candidate >= 1 && candidate <= lastDayOf(date) && weekday !== 0 && weekday !== 6;
  };
  return [0, -1, 1, -2, 2].map((distance) => day + distance).find(isWorking) ?? 0;
}

function monthDayMatches(item: string, date: Date): boolean {
  const day = date.getUTCDate();
  const last = lastDayOf(date);
  if (item === "L") return day === last;
  if (item === "LW") return day === nearestWorkingDay(date, last);
  if (item.endsWith("W")) return parseInt(item) <= last && day === nearestWorkingDay(date, parseInt(item));
  return values(item, 1, 31).has(day);
}

function weekdayMatches(item: string, date: Date): boolean {
  const numbers = NAMES.reduce((text, name, index) => text.replaceAll(name, `${index}`), item);
  const day = date.getUTCDate();
  const [weekday = "", nth] = numbers.split("#");
  if (nth !== undefined) {
    return Number(weekday) % 7 === date.getUTCDay() && Math.ceil(day / 7) === Number(nth);
  }
  if (numbers.endsWith("L")) return parseInt(numbers) % 7 === date.getUTCDay() && day + 7 > lastDayOf(date);
  const found = values(numbers, 0, 6);
  return found.has(date.getUTCDay()) || (found.has(7) && date.getUTCDay() === 0);
}

/** Every due time of a walk, by the rules: what matches is found once for all of them. */
function oracle(expression: string, { from, tick, shown }: Walk): (rules: Rules) => readonly number[] {
  const { isStated, matches } = matcher(expression);
  const matched = shown.map((local) => matches(local) ? 1 : 0);
  return (rules) => {
    const found: number[] = [];
    let highest = shown.subarray(0, RUN_UP / tick).reduce((a, b) => Math.max(a, b), -Infinity);
    for (let index = RUN_UP / tick; index < shown.length; index++) {
      const local = shown[index] ?? 0;
      let isDue = matched[index] === 1;
      if (isStated) {
        if (local <= highest && rules.fold === "First") isDue = false;
        // More than a tick was shown since: local times were left out.
        for (let left = highest + tick; left < local && rules.gap === "RunAtNextValid"; left += tick) {
          isDue ||= matches(left);
        }
      }
      // After a fold the clocks show what they showed before; only what is higher is news.
      if (local > highest) highest = local;
      if (isDue) found.push(from + index * tick);
    }
    return found;
  };
}

// ---------------------------------------------------------------------------------------- the code under test

function forwards(expression: string, rules: ZoneRules, from: number, to: number): readonly number[] {
  const cron = localCron(expression);
  const found: number[] = [];
  let at = nextZoned(cron, rules, from - 1);
  while (at !== null && at < to) {
    found.push(at);
    at = nextZoned(cron, rules, at);
  }
  return found;
}

function backwards(expression: string, rules: ZoneRules, from: number, to: number): readonly number[] {
  const cron = localCron(expression);
  const found: number[] = [];
  let at = previousZoned(cron, rules, to - 1);
  while (at !== null && at >= from) {
    found.push(at);
    at = previousZoned(cron, rules, at - 1);
  }
  return found.reverse();
}

function assertSame(found: readonly number[], expected: readonly number[], message: string): void {
  const index = expected.findIndex((at, position) => at !== found[position]);
  if (index === -1 && found.length === expected.length) return;
  const at = index === -1 ? expected.length : index;
  const text = (time: number | undefined): string =>
    time === undefined ? "none" : new Date(time).toISOString();
  assert(false, `${message}, number ${at}: ${text(found[at])} instead of ${text(expected[at])}`);
}

// -------------------------------------------------------------------------------------------------- the tests

/** Month ends, leap days, both days restricted, and times in every gap and fold of the three zones. */
const STATED = [
  "0 30 2 * * *",
  "0 0 2 * * *",
  "0 0 3 * * *",
  "0 15 2 * * *",
  "0 59 1 * * *",
  "0 0,30 1-3 * * *",
  "0 10,50 2,14 * * *",
  "0 30 1 * * SUN",
  "0 0 0 L * *",
  "0 45 23 LW * *",
  "0 30 2 29 * *",
  "0 30 2 25 10 *",
  "0 0 9 31 * *",
  "0 0 9 13 * FRI",
  "0 0 9 1,15W * *",
  "0 0 9 * * MON-FRI",
  "0 30 2 * * 7#1",
  "0 30 2 * * SUNL",
  "0 0 12 29 2 *",
];
const INTERVALS = [
  "0 */15 * * * *",
  "0 0 * * * *",
  "0 */20 2 * * *",
  "0 7-59/15 1-3 * * *",
  "0 30 */2 * * *",
  "0 */7 2 L * SUN",
];

for (const timeZone of ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]) {
  Deno.test(`F25: in ${timeZone} every due time of 2026 is the oracle's, under each gap and fold rule`, () => {
    const [from, to] = YEAR_2026;
    const year = walk(timeZone, { from, to, tick: MINUTE });
    for (const expression of STATED) {
      const dueTimes = oracle(expression, year);
      for (const rule of ALL_RULES) {
        const rules = { ...rule, timeZone };
        const expected = dueTimes(rule);
        const message = `${expression} ${rule.gap} ${rule.fold}`;
        assertSame(forwards(expression, rules, from, to), expected, message);
        assertSame(backwards(expression, rules, from, to), expected, `${message} backwards`);
      }
    }
    // The rules are not for intervals: each one is tried under another pair, and must not care.
    for (const [index, expression] of INTERVALS.entries()) {
      const rules = { ...DEFAULT_RULES, ...ALL_RULES[index % ALL_RULES.length], timeZone };
      const expected = oracle(expression, year)(rules);
      assertSame(forwards(expression, rules, from, to), expected, expression);
      assertSame(backwards(expression, rules, from, to), expected, `${expression} backwards`);
    }
  });
}

const CHANGES: readonly (readonly [zone: string, at: number])[] = [
  ["Europe/Berlin", Date.UTC(2026, 2, 29, 1)],
  ["Europe/Berlin", Date.UTC(2026, 9, 25, 1)],
  ["America/New_York", Date.UTC(2026, 2, 8, 7)],
  ["America/New_York", Date.UTC(2026, 10, 1, 6)],
  ["Australia/Lord_Howe", Date.UTC(2026, 3, 4, 15)],
  ["Australia/Lord_Howe", Date.UTC(2026, 9, 3, 15, 30)],
  ["Pacific/Apia", Date.UTC(2011, 11, 30, 10)],
  ["America/Santiago", Date.UTC(2026, 8, 6, 4)],
  ["America/Santiago", Date.UTC(2026, 3, 5, 3)],
  ["America/Nuuk", Date.UTC(2026, 2, 29, 1)],
  ["America/Nuuk", Date.UTC(2026, 9, 25, 1)],
  ["Asia/Kathmandu", Date.UTC(1985, 11, 31, 18, 30)],
  ["Africa/Casablanca", Date.UTC(2026, 1, 15, 2)],
];

for (const [timeZone, change] of CHANGES) {
  const title = `F25: around ${
    new Date(change).toISOString()
  } in ${timeZone} due times by the second are the oracle's`;
  Deno.test(title, () => {
    const [from, to] = [change - 2 * HOUR, change + 2 * HOUR];
    const clock = new Date(
      walk(timeZone, { from: change - QUARTER, to: change, tick: MINUTE }).shown.at(-1) ?? 0,
    );
    const hour = (clock.getUTCHours() + 1) % 24;
    const patterns = [
      "*/7 * * * * *",
      `* 59 ${(hour + 23) % 24} * * *`,
      `0 */10 ${hour} * * *`,
      ...[0, 10, 59].flatMap((minute) => [
        `5 ${minute} ${hour} * * *`,
        `59 ${minute} ${(hour + 23) % 24} * * *`,
        `0,30 ${minute} ${hour} ${clock.getUTCDate()} * *`,
      ]),
    ];
    const around = walk(timeZone, { from, to, tick: 1000 });
    for (const expression of patterns) {
      const dueTimes = oracle(expression, around);
      for (const rule of ALL_RULES) {
        const rules = { ...rule, timeZone };
        const expected = dueTimes(rule);
        const message = `${expression} ${rule.gap} ${rule.fold}`;
        assertSame(forwards(expression, rules, from, to), expected, message);
        assertSame(backwards(expression, rules, from, to), expected, `${message} backwards`);
      }
    }
  });
}

const ZONES = [
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "America/Santiago",
  "America/Nuuk",
  "Africa/Casablanca",
  "Africa/Cairo",
  "Asia/Kathmandu",
  "Asia/Gaza",
  "Pacific/Apia",
  "Antarctica/Troll",
  "UTC",
];

Deno.test("F25: random patterns in random zones and years are the oracle's", () => {
  const stated = fc.tuple(fc.nat(59), fc.nat(23), fc.nat(59), fc.nat(23))
    .map(([a, b, c, d]) =>
      a === c ? `0 ${a} ${b} * * *` : `0 ${a},${c} ${Math.min(b, d)}-${Math.max(b, d)} * * *`
    );
  const interval = fc.tuple(fc.integer({ min: 2, max: 30 }), fc.nat(23)).map(([a, b]) =>
    `0 */${a} ${b} * * *`
  );
  const days = fc.constantFrom(
    "* * *",
    "L * *",
    "1-7 * MON",
    "* * SUN",
    "*/2 * *",
    "* 3,4,10,11 *",
    "* * 0#4",
    "15W * *",
  );
  const pattern = fc.tuple(fc.oneof(stated, interval), days).map(([time, day]) => time.replace("* * *", day));
  const start = fc.integer({ min: Date.UTC(1985, 0) / DAY, max: Date.UTC(2036, 0) / DAY });
  const rules = fc.tuple(fc.constantFrom(...ZONES), fc.constantFrom(...ALL_RULES))
    .map(([timeZone, rule]) => ({ ...rule, timeZone }));
  fc.assert(
    fc.property(pattern, rules, start, (expression, rule, day) => {
      const [from, to] = [day * DAY, (day + 45) * DAY];
      const expected = oracle(expression, walk(rule.timeZone, { from, to, tick: MINUTE }))(rule);
      assertSame(forwards(expression, rule, from, to), expected, `${expression} ${rule.timeZone}`);
      assertSame(backwards(expression, rule, from, to), expected, `${expression} ${rule.timeZone} backwards`);
    }),
    { numRuns: 60 },
  );
});

Deno.test("with the default rules croner's own zone mode agrees, outside gaps that reach midnight", () => {
  for (const timeZone of ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]) {
    for (const expression of [...STATED, ...INTERVALS]) {
      const croner = new Cron(expression, { timezone: timeZone, fixedTimeRule: "no-wildcard" });
      const found = forwards(expression, { ...DEFAULT_RULES, timeZone }, ...YEAR_2026).slice(0, 40);
      let before = YEAR_2026[0] - 1;
      for (const at of found) {
        assertEquals(croner.nextRun(new Date(before))?.getTime(), at, `${expression} ${timeZone}`);
        before = at;
      }
    }
  }
});

Deno.test("a stated time in a gap that reaches midnight runs at midnight, where croner's zone mode drops it", () => {
  const rules = { ...DEFAULT_RULES, timeZone: "America/Nuuk" };
  const after = Date.UTC(2026, 2, 28, 12);
  assertEquals(nextZoned(localCron("0 30 23 * * *"), rules, after), Date.UTC(2026, 2, 29, 1));
  const croner = new Cron("0 30 23 * * *", { timezone: "America/Nuuk", fixedTimeRule: "no-wildcard" });
  assertEquals(croner.nextRun(new Date(after))?.getTime(), Date.UTC(2026, 2, 30, 0, 30));
});

Deno.test("leap days come every four years, and not in 2100", () => {
  const rules = { ...DEFAULT_RULES, timeZone: "Europe/Berlin" };
  const cron = localCron("0 0 12 29 2 *");
  const years: number[] = [];
  let at = nextZoned(cron, rules, Date.UTC(2090, 0));
  while (at !== null && years.length < 4) {
    years.push(new Date(at).getUTCFullYear());
    at = nextZoned(cron, rules, at);
  }
  assertEquals(years, [2092, 2096, 2104, 2108]);
});
