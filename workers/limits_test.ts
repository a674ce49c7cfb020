import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  clampText,
  ERROR_LIMIT,
  errorReport,
  fieldsText,
  LINE_LIMIT,
  RESULT_LIMIT,
  resultText,
  retryAfterMs,
} from "./limits.ts";
import { RetryLater } from "./handler.ts";

const bytes = (text: string) => new TextEncoder().encode(text).length;
/** Text with everything that stores refuse: NUL, halves of surrogate pairs, and much of it. */
const anyText = fc.string({
  unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
});
const storable = (text: string) => text.isWellFormed() && !text.includes("\0");

Deno.test("property: clamped text is storable, and as it was when it was short and storable", () => {
  fc.assert(fc.property(anyText, fc.integer({ min: 1, max: 64 }), (text, limit) => {
    const clamped = clampText(text, limit);
    assert(storable(clamped));
    assertLessOrEqual(bytes(clamped), limit * 3 + 40);
    if (bytes(text) <= limit && storable(text)) assertEquals(clamped, text);
  }));
});

Deno.test("property: a result is JSON that says the same, or says what was cut", () => {
  fc.assert(fc.property(fc.jsonValue({ depthSize: "medium" }), (value) => {
    assertEquals(JSON.parse(resultText(value) ?? ""), JSON.parse(JSON.stringify(value)));
  }));
  const cut = JSON.parse(resultText(Array.from({ length: 20_000 }, () => "\u{1F4A5}")) ?? "");
  assertEquals([cut.truncated, cut.bytes], [true, 20_000 * 7 + 1]);
});

Deno.test("property: neither a result nor fields hold text that a store refuses, in keys and values", () => {
  fc.assert(fc.property(fc.dictionary(anyText, anyText), (value) => {
    for (const text of [resultText(value), fieldsText(value)]) {
      for (const pair of Object.entries(JSON.parse(text ?? "{}"))) {
        assert(pair.every((one) => storable(String(one))));
      }
    }
  }));
});

Deno.test("nothing returned is no result; what JSON cannot say is an error", () => {
  assertEquals(resultText(undefined), null);
  assertEquals(resultText(() => 0), null);
  assertEquals(resultText(null), "null");
  assertThrows(() => resultText({ big: 1n }), TypeError);
});

Deno.test("fields never fail a line: cycles, BigInts, functions, errors, throwing getters", () => {
  const shared = { deep: 1 };
  const cycle: Record<string, unknown> = {
    first: shared,
    second: shared,
    error: new TypeError("x"),
    big: 2n,
  };
  cycle["self"] = { cycle };
  assertEquals(JSON.parse(fieldsText(cycle) ?? ""), {
    first: { deep: 1 },
    second: { deep: 1 },
    error: "TypeError: x",
    big: "2",
    self: { cycle: "[circular]" },
  });
  const hostile = {
    get secret() {
      throw new Error("no");
    },
  };
  assertEquals(JSON.parse(fieldsText(hostile) ?? ""), { unreadable: "Error: no" });
  assertLessOrEqual(bytes(fieldsText({ text: "x".repeat(100_000) }) ?? ""), LINE_LIMIT);
});

Deno.test("whatever is thrown can be reported, within its limit", () => {
  fc.assert(fc.property(fc.anything(), (thrown) => {
    assert(errorReport(thrown).name.length > 0);
  }));
  const deep = Array.from({ length: 20 }).reduce<Error>(
    (cause) =>
      Object.assign(new Error("é".repeat(10_000), { cause }), {
        stack: "Error\n" + `    at ${"é".repeat(40)}\n`.repeat(500),
      }),
    new Error("first"),
  );
  const report = errorReport(deep);
  assertEquals(report.causes.length, 5);
  assertLessOrEqual(bytes(JSON.stringify(report)), ERROR_LIMIT);
  const hostile = new Proxy({}, {
    get() {
      throw new Error("no");
    },
  });
  assertEquals(errorReport(hostile).name, "Error");
  assertLessOrEqual(RESULT_LIMIT, 65_536);
});

Deno.test("causes are those of the chain and the errors of an AggregateError, the nearest first, each with its stack", () => {
  const inner = new RangeError("too far");
  const failed = new AggregateError(
    [new TypeError("first", { cause: inner }), "second", new Error("third")],
    "all addresses failed",
    { cause: new Error("why") },
  );
  const { message, causes } = errorReport(failed);
  assertEquals(message, "all addresses failed");
  assertEquals(causes.map((one) => [one.name, one.message]), [
    ["Error", "why"],
    ["TypeError", "first"],
    ["Error", "second"],
    ["Error", "third"],
    ["RangeError", "too far"],
  ]);
  assertEquals(causes.map(({ stack }) => stack === undefined), [false, false, true, false, false]);
  const stack = causes[0]?.stack ?? "";
  assert(stack.includes("limits_test.ts"), stack);
  assert(!stack.includes("Error: why"), "its name and message stand beside it");

  const self = new AggregateError([], "self");
  self.errors.push(self, ...Array.from({ length: 10_000 }, () => new Error("one of many")));
  assertEquals(errorReport(self).causes.length, 5);
});

Deno.test("an error asks to wait by RetryLater, or by retryAfter in seconds, as a date or as a header has it, a week at most", () => {
  const now = Date.UTC(2026, 0, 1);
  const asked = (retryAfter: unknown) => retryAfterMs(Object.assign(new Error("429"), { retryAfter }), now);
  assertEquals(retryAfterMs(new RetryLater("later", { afterSeconds: 2.5 }), now), 2500);
  for (const afterSeconds of [NaN, Infinity]) {
    assertEquals(retryAfterMs(new RetryLater("later", { afterSeconds }), now), null, "the back-off counts");
  }
  assertEquals([asked(30), asked(new Date(now + 7000)), asked(new Date(now - 1)), asked(-3)], [
    30_000,
    7000,
    0,
    0,
  ]);
  assertEquals([asked(1e15), asked("1000000000")], [7 * 86_400_000, 7 * 86_400_000]);
  assertEquals([asked("30"), asked(" 1.5 "), asked("0")], [30_000, 1500, 0]);
  assertEquals(
    ["Thu, 01 Jan 2026 00:00:07 GMT", "Thursday, 01-Jan-26 00:00:07 GMT", "Wed, 31 Dec 2025 23:00:00 GMT"]
      .map(asked),
    [7000, 7000, 0],
  );
  for (const text of ["", "soon", "-3", "1e3", "0x10", "2026-01-01", "Thu, 99 Foo 2026 00:00:07 GMT"]) {
    assertEquals(asked(text), null, text);
  }
  assertEquals([asked(Infinity), asked(NaN), asked(new Date(NaN)), asked(null)], [null, null, null, null]);
  assertEquals([retryAfterMs(new Error("x"), now), retryAfterMs("text", now), retryAfterMs(undefined, now)], [
    null,
    null,
    null,
  ]);
});

Deno.test("an error is named by its class when it was given no name of its own", () => {
  class HttpError extends Error {}
  class NamedError extends Error {
    override readonly name = "E42";
  }
  const names = [new HttpError("x"), new NamedError("x"), new TypeError("x"), new Error("x"), "x", null]
    .map((thrown) => errorReport(thrown).name);
  assertEquals(names, ["HttpError", "E42", "TypeError", "Error", "Error", "Error"]);
});
