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
} from "./limits.ts";

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
    (cause) => new Error("é".repeat(10_000), { cause }),
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
