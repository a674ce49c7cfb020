import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  backoffMs,
  DEFAULT_FAILURE_RULES,
  MAX_RETRY_DELAY_SECONDS,
  nextTry,
  RETRY_AFTER_AT_MOST_MS,
  RETRY_FLOOR_MS,
  type RetryRule,
  ruleFor,
} from "./retry.ts";

const NOW = Date.UTC(2026, 0, 1);
const policy = { baseRetryDelaySeconds: 5, maxRetryDelaySeconds: MAX_RETRY_DELAY_SECONDS };
const ALMOST_ONE = 1 - Number.EPSILON;
const jitters = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

const rule = (error: string, changes: Partial<RetryRule> = {}): RetryRule => ({
  error,
  action: "retry",
  maxRetries: null,
  baseRetryDelaySeconds: null,
  ...changes,
});

Deno.test("back-off doubles with each failure until the cap", () => {
  const steps = [1, 2, 3, 4].map((failures) => backoffMs(policy, failures, ALMOST_ONE));
  assertEquals(steps, [5000, 10_000, 20_000, 40_000]);
  assertEquals(backoffMs(policy, 50, ALMOST_ONE), MAX_RETRY_DELAY_SECONDS * 1000);
  assertEquals(backoffMs(policy, 1_000_000, ALMOST_ONE), MAX_RETRY_DELAY_SECONDS * 1000);
});

Deno.test("back-off with full jitter lies anywhere between the floor and the step, and grows with the jitter", () => {
  const bases = fc.record({
    baseRetryDelaySeconds: fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 3600, noNaN: true })),
    maxRetryDelaySeconds: fc.double({ min: 0.001, max: 86_400, noNaN: true }),
  });
  fc.assert(fc.property(bases, fc.integer({ min: 1, max: 200 }), jitters, (given, failures, jitter) => {
    const step = Math.min(given.baseRetryDelaySeconds * 2 ** (failures - 1), given.maxRetryDelaySeconds) *
      1000;
    const wait = backoffMs(given, failures, jitter);
    assert(
      wait >= Math.floor(Math.min(RETRY_FLOOR_MS, step)) && wait <= Math.ceil(step),
      `${wait} of ${step}`,
    );
    assert(wait <= backoffMs(given, failures, ALMOST_ONE));
  }));
  const spread = [0, 0.25, 0.5, 0.75].map((jitter) => backoffMs(policy, 1, jitter));
  assertEquals(spread, [100, 1325, 2550, 3775]);
});

Deno.test("of several rules the first that fits an error counts, and * stands for any characters", () => {
  const rules = ["HttpError", "*Timeout*", "A*B*C", "*"].map((error) => rule(error));
  const ruled = (name: string) => ruleFor(rules, name)?.error;
  assertEquals(
    ["HttpError", "httperror", "HttpErrors", "ReadTimeoutError", "Timeout", "ABC", "AxBxC", "ABCx", "AC"].map(
      ruled,
    ),
    ["HttpError", "HttpError", "*", "*Timeout*", "*Timeout*", "A*B*C", "A*B*C", "*", "*"],
  );
  assertEquals(ruleFor([rule("X")], "Y"), null);

  const letters = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 8 });
  const patterns = fc.string({ unit: fc.constantFrom("a", "b", ".", "*"), maxLength: 8 });
  fc.assert(fc.property(fc.array(patterns, { maxLength: 5 }), letters, (given, name) => {
    const oracle = (pattern: string) =>
      new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(name);
    const found = given.findIndex(oracle);
    const rules = given.map((error, index) => rule(error, { maxRetries: index }));
    assertEquals(ruleFor(rules, name)?.maxRetries ?? -1, found);
  }));
});

const anyTry = fc.record({
  attempt: fc.integer({ min: 1, max: 12 }),
  maxAttempts: fc.integer({ min: 1, max: 10 }),
  baseRetryDelaySeconds: fc.integer({ min: 0, max: 60 }),
  firstStartedAt: fc.integer({ min: NOW - 3_600_000, max: NOW }),
  rules: fc.record({
    maxRetryDelaySeconds: fc.integer({ min: 1, max: 600 }),
    retryBudgetSeconds: fc.option(fc.integer({ min: 1, max: 3600 })),
    retryRules: fc.array(
      fc.record({
        error: fc.constantFrom("A", "B", "*"),
        action: fc.constantFrom("retry" as const, "fail" as const),
        maxRetries: fc.option(fc.nat(12)),
        baseRetryDelaySeconds: fc.option(fc.nat(60)),
      }),
      { maxLength: 3 },
    ),
    autoDisable: fc.constant(null),
  }),
});
const anyFailure = fc.record({
  errorName: fc.constantFrom("A", "B", "C"),
  permanent: fc.boolean(),
  retryAfterMs: fc.option(fc.oneof(fc.nat(7_200_000), fc.constantFrom(-5, 1e15))),
});

Deno.test("a retry obeys rule, attempts, cap, the job's wish and the budget, whatever they are", () => {
  fc.assert(
    fc.property(anyTry, anyFailure, jitters, (one, failure, jitter) => {
      const next = nextTry(one, failure, NOW, () => jitter);
      assert(next.why !== "", "it says why");
      const ruled = one.rules.retryRules.find(({ error }) => error === "*" || error === failure.errorName);
      const limit = (ruled?.maxRetries ?? one.maxAttempts - 1) + 1;
      const mayRun = !failure.permanent && ruled?.action !== "fail" && one.attempt < limit;
      if (!next.again) {
        // When the tries allow it, only the budget is in the way.
        assert(!mayRun || one.rules.retryBudgetSeconds !== null && next.why.includes("budget"));
        return;
      }
      assert(mayRun);
      const wait = next.readyAt - NOW;
      const { retryBudgetSeconds: budget, maxRetryDelaySeconds: cap } = one.rules;
      if (budget !== null) assert(next.readyAt <= one.firstStartedAt + budget * 1000, "the budget is kept");
      if (failure.retryAfterMs !== null) {
        assertEquals(wait, Math.min(Math.max(0, failure.retryAfterMs), RETRY_AFTER_AT_MOST_MS));
      } else {
        const base = ruled?.baseRetryDelaySeconds ?? one.baseRetryDelaySeconds;
        assert(wait >= 0 && wait <= Math.min(base * 2 ** (one.attempt - 1), cap) * 1000);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a failed attempt says why it is tried again, or why not", () => {
  const one = {
    attempt: 1,
    maxAttempts: 2,
    baseRetryDelaySeconds: 10,
    firstStartedAt: NOW - 1000,
    rules: DEFAULT_FAILURE_RULES,
  };
  const failure = { errorName: "HttpError", permanent: false, retryAfterMs: null };
  const why = (changes: Partial<typeof one>, failed: Partial<Parameters<typeof nextTry>[1]> = {}) =>
    nextTry({ ...one, ...changes }, { ...failure, ...failed }, NOW, () => ALMOST_ONE).why;
  const rules = (retryRules: readonly RetryRule[], retryBudgetSeconds: number | null = null) => ({
    rules: { ...DEFAULT_FAILURE_RULES, retryRules, retryBudgetSeconds },
  });
  assertEquals(why({}), "the next one is due at 2026-01-01T00:00:10.000Z");
  assertEquals(
    why({}, { retryAfterMs: 60_000 }),
    "the next one is due at 2026-01-01T00:01:00.000Z, as the job asked",
  );
  assertEquals(
    why(rules([rule("Http*", { maxRetries: 5, baseRetryDelaySeconds: 1 })])),
    "the next one is due at 2026-01-01T00:00:01.000Z by the rule for Http*",
  );
  assertEquals(why({}, { permanent: true }), "it asked not to be tried again");
  assertEquals(
    why(rules([rule("Http*", { action: "fail" })])),
    "not to be tried again by the rule for Http*",
  );
  assertEquals(why({ attempt: 2 }), "no attempt is left");
  assertEquals(why({ maxAttempts: 1 }), "there are no retries");
  assertEquals(
    why(rules([], 5)),
    "the next one would be due at 2026-01-01T00:00:10.000Z, after the budget of 5 s from the first start " +
      "(2025-12-31T23:59:59.000Z)",
  );
});
