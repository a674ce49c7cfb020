import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { CronExpressionParser } from "cron-parser";
import fc from "fast-check";
import { parseCron } from "./cron.ts";
import { localCron } from "./local_cron.ts";
import type { Problem } from "./problem.ts";

const SEED = "01980000-0000-7000-8000-000000000001";

function resolvedOf(expression: string, seed = SEED): string {
  const answer = parseCron(expression, seed);
  assert(answer.ok, answer.ok ? "" : answer.problems.map((one) => one.message).join("\n"));
  return answer.resolved;
}

function problemsOf(expression: string): readonly Problem[] {
  const answer = parseCron(expression, SEED);
  assert(!answer.ok, `${expression} was taken`);
  return answer.problems;
}

// Expression, and what the problem must name: field, position, allowed range.
const INVALID:
  readonly (readonly [expression: string, fieldName: string, position: number, allowed: string])[] = [
    ["60 * * * *", "Field 1 of 5 (minute)", 1, "0-59"],
    ["*/0 * * * *", "Field 1 of 5 (minute)", 1, "0-59"],
    ["*/61 * * * *", "Field 1 of 5 (minute)", 1, "1-60"],
    ["5-1 * * * *", "Field 1 of 5 (minute)", 1, "0-59"],
    ["0 0 * * 8", "Field 5 of 5 (day of week)", 9, "0-7 or SUN-SAT"],
    ["0 24 * * *", "Field 2 of 5 (hour)", 3, "0-23"],
    ["0 0 32 * *", "Field 3 of 5 (day of month)", 5, "1-31"],
    ["0 0 1 13 *", "Field 4 of 5 (month)", 7, "1-12 or JAN-DEC"],
    ["0 9,17,25 * * *", "Field 2 of 5 (hour)", 8, "0-23"],
    ["  0   30   25 * * *", "Field 3 of 6 (hour)", 12, "0-23"],
    ["0 0 1-5W * *", "Field 3 of 5 (day of month)", 5, "1-31"],
    ["0 0 1,LW * *", "Field 3 of 5 (day of month)", 7, "LW stands alone"],
    ["0 0 32W * *", "Field 3 of 5 (day of month)", 5, "1-31"],
    ["0 0 * * 5#6", "Field 5 of 5 (day of week)", 9, "at most 5 times"],
    ["0 0 * * L", "Field 5 of 5 (day of week)", 9, "0-7"],
    ["? * * * *", "Field 1 of 5 (minute)", 1, "0-59"],
    ["1,,2 * * * *", "Field 1 of 5 (minute)", 3, "it is empty"],
    ["1-2-3 * * * *", "Field 1 of 5 (minute)", 1, "it is no range"],
    ["*/2/3 * * * *", "Field 1 of 5 (minute)", 1, "more than one step"],
    ["H(9-5) * * * *", "Field 1 of 5 (minute)", 1, "runs backwards"],
    ["0 H(1-24) * * *", "Field 2 of 5 (hour)", 3, "0-23"],
    ["-5 * * * *", "Field 1 of 5 (minute)", 1, "0-59"],
    ["1.5 * * * *", "Field 1 of 5 (minute)", 1, "0-59"],
  ];

for (const [expression, fieldName, position, allowed] of INVALID) {
  Deno.test(`B26: "${expression}" is cron_invalid with field, position, allowed values and an example`, () => {
    const [problem, ...others] = problemsOf(expression);
    assertEquals(others, []);
    assertEquals(problem?.code, "cron_invalid");
    assertEquals(problem?.field, "cronExpression");
    assertStringIncludes(problem?.message ?? "", fieldName);
    assertStringIncludes(problem?.message ?? "", `character ${position}:`);
    assertStringIncludes(problem?.message ?? "", allowed);
    assertMatch(problem?.message ?? "", /Example: \S+ /);
  });
}

Deno.test("B26: each wrong field of an expression is named at once", () => {
  const problems = problemsOf("a b c d e");
  assertEquals(problems.map((one) => one.given), ["a", "b", "c", "d", "e"]);
});

for (const expression of ["", "   ", "* * * *", "* * * * * * *", "* * * * * * * *"]) {
  Deno.test(`B26: "${expression}" is refused for its number of fields`, () => {
    const [problem] = problemsOf(expression);
    assertEquals(problem?.code, "cron_invalid");
    assertStringIncludes(problem?.message ?? "", "5 fields");
  });
}

Deno.test("B28: an expression of more than 256 characters is cron_too_long, and its text is not echoed whole", () => {
  const [problem] = problemsOf("1,".repeat(5000) + "1 * * * *");
  assertEquals(problem?.code, "cron_too_long");
  assert((problem?.given?.length ?? 0) <= 100);
});

for (const expression of ["*/999999 * * * *", "99999999999 * * * *"]) {
  Deno.test(`B28: "${expression}" is refused with the range`, () => {
    assertEquals(problemsOf(expression)[0]?.code, "cron_invalid");
  });
}

const UNSUPPORTED: readonly (readonly [expression: string, token: string])[] = [
  ["@reboot", "@reboot"],
  ["@every 5m", "@every"],
  ["@minutely", "@minutely"],
  ["TZ=Europe/Berlin 0 0 * * *", "TZ=Europe/Berlin"],
  ["CRON_TZ=UTC 0 0 * * *", "CRON_TZ=UTC"],
  ["0 0 L-3 * *", "L-3"],
  ["0~30 * * * *", "0~30"],
  ["0 0 13 * +FRI", "+FRI"],
];

for (const [expression, token] of UNSUPPORTED) {
  Deno.test(`B30: "${expression}" is cron_unsupported, naming ${token}`, () => {
    const [problem, ...others] = problemsOf(expression);
    assertEquals(others, []);
    assertEquals(problem?.code, "cron_unsupported");
    assertEquals(problem?.given, token);
    assertStringIncludes(problem?.message ?? "", token);
  });
}

const SUPPORTED: readonly (readonly [expression: string, resolved: string])[] = [
  ["*/5 * * * *", "0 */5 * * * *"],
  ["*/5 * * * * *", "*/5 * * * * *"],
  ["5/15 * * * *", "0 5-59/15 * * * *"],
  ["0 0 ? * mon-fri", "0 0 0 * * MON-FRI"],
  ["0 0 * jan,Jul sun", "0 0 0 * JAN,JUL SUN"],
  ["0 0 * * FRI-SUN", "0 0 0 * * FRI-SUN"],
  ["0 0 * * FRI-SUN/2", "0 0 0 * * 5-7/2"],
  ["0 0 1,L * *", "0 0 0 1,L * *"],
  ["0 0 lw * *", "0 0 0 LW * *"],
  ["0 0 15W * *", "0 0 0 15W * *"],
  ["0 0 * * fri#2,MONL", "0 0 0 * * FRI#2,MONL"],
  ["@daily", "0 0 0 * * *"],
  [" @Weekly ", "0 0 0 * * 0"],
];

for (const [expression, resolved] of SUPPORTED) {
  Deno.test(`B30: "${expression}" is taken as "${resolved}"`, () => {
    assertEquals(resolvedOf(expression), resolved);
  });
}

Deno.test("H takes one value from the job's id, another in each field, and the same each time", () => {
  const first = resolvedOf("H H * * *");
  assertMatch(first, /^0 \d{1,2} \d{1,2} \* \* \*$/);
  assertEquals(resolvedOf("H H * * *"), first);
  const others = Array.from({ length: 50 }, (_, index) => resolvedOf("H H * * *", `job-${index}`));
  assert(new Set(others).size > 40, "jobs should spread");
});

Deno.test("H keeps to its range and step, and is never a day that some month lacks", () => {
  fc.assert(
    fc.property(fc.uuid(), (seed) => {
      const [second, minute, hour, day, month, weekday] = resolvedOf("H H(10-20) H(1-5) H * H", seed).split(
        " ",
      );
      assert(Number(second) >= 0 && Number(second) <= 59);
      assert(Number(minute) >= 10 && Number(minute) <= 20);
      assert(Number(hour) >= 1 && Number(hour) <= 5);
      assert(Number(day) >= 1 && Number(day) <= 28);
      assertEquals(month, "*");
      assert(Number(weekday) >= 0 && Number(weekday) <= 6);
      const stepped = resolvedOf("H/15 * * * *", seed).split(" ")[1] ?? "";
      const start = Number(/^(\d+)-59\/15$/.exec(stepped)?.[1]);
      assert(start >= 0 && start < 15, stepped);
    }),
    { numRuns: 50 },
  );
});

Deno.test("H stands beside W, which cron-parser alone cannot read", () => {
  assertMatch(resolvedOf("H H 15W * *"), /^0 \d+ \d+ 15W \* \*$/);
});

Deno.test("a pattern states local times when second, minute and hour have neither star nor step", () => {
  for (const stated of ["30 2 * * *", "0,30 2-4 * * *", "0 15 3 L * *", "H H * * *"]) {
    assertEquals(localCron(resolvedOf(stated)).isFixedTime, true, stated);
  }
  for (const interval of ["0 * * * *", "*/5 2 * * *", "* 0 2 * * *", "0 H/6 * * *", "0 0/6 * * *"]) {
    assertEquals(localCron(resolvedOf(interval)).isFixedTime, false, interval);
  }
});

Deno.test("whatever text is given, the answer is a resolved expression or problems, never an exception", () => {
  const piece = fc.constantFrom(
    ..."*/0 1 5 59 60 , - # ? L W H ( ) + @ ~ MON JAN 1W 5L 2#3 LW H(1-5) H/2".split(" "),
    " ",
    "\t",
    "é",
    "ß",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
      const answer = parseCron(pieces.join(""), SEED);
      if (answer.ok) localCron(answer.resolved).next(0);
      else assert(answer.problems.length > 0);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("local times agree with cron-parser as second opinion, forwards", () => {
  fc.assert(
    fc.property(
      expressions(),
      fc.integer({ min: 1_600_000_000, max: 2_000_000_000 }),
      (expression, start) => {
        const resolved = resolvedOf(expression);
        const cron = localCron(resolved);
        const other = CronExpressionParser.parse(resolved, {
          currentDate: new Date(start * 1000),
          tz: "UTC",
        });
        let at: number | null = start * 1000;
        for (let count = 0; count < 8 && at !== null; count++) {
          at = cron.next(at);
          assertEquals(at, other.next().getTime(), expression);
        }
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("local times backwards are the local times forwards", () => {
  fc.assert(
    fc.property(
      expressions(),
      fc.integer({ min: 1_600_000_000, max: 2_000_000_000 }),
      (expression, start) => {
        const cron = localCron(resolvedOf(expression));
        const first = cron.next(start * 1000);
        const second = first === null ? null : cron.next(first);
        if (first === null || second === null) return;
        assertEquals(cron.previous(second), first);
        assertEquals(cron.previous(first + 1), first);
        assertEquals(cron.next(first - 1), first);
      },
    ),
    { numRuns: 300 },
  );
});

/** Six-field expressions of the forms that both libraries know. */
function expressions(): fc.Arbitrary<string> {
  const of = (from: number, to: number): fc.Arbitrary<string> => {
    const value = fc.integer({ min: from, max: to });
    const range = fc.tuple(value, value).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
    const step = fc.integer({ min: 1, max: to - from });
    return fc.oneof(
      fc.constant("*"),
      value.map(String),
      fc.uniqueArray(value, { minLength: 2, maxLength: 4 }).map((values) => values.join(",")),
      range,
      step.map((size) => `*/${size}`),
      fc.tuple(range, step).map(([text, size]) => `${text}/${size}`),
    );
  };
  // Both days restricted means OR; what counts as unrestricted differs between the libraries, so one stays a star.
  const days = fc.oneof(
    fc.oneof(of(1, 28), fc.constant("L")).map((day) => `${day} MONTH *`),
    fc.oneof(of(0, 6), fc.constantFrom("MON-FRI", "5L", "5#2", "SUN", "7")).map((day) => `* MONTH ${day}`),
    fc.tuple(fc.integer({ min: 1, max: 28 }), fc.integer({ min: 0, max: 6 })).map(([a, b]) =>
      `${a} MONTH ${b}`
    ),
  );
  return fc.tuple(of(0, 59), of(0, 59), of(0, 23), days, of(1, 12))
    .map(([second, minute, hour, day, month]) =>
      `${second} ${minute} ${hour} ${day.replace("MONTH", month)}`
    );
}
