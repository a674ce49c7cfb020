import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { JsonFault, MAX_DEPTH, parseStrictJson, position } from "./strict_json.ts";

function fault(text: string, maxItems = 10_000): JsonFault {
  return assertThrows(() => parseStrictJson(text, maxItems), JsonFault);
}

function codeOf(text: string, maxItems?: number): string {
  return fault(text, maxItems).code;
}

Deno.test("strict JSON reads what JSON.stringify writes, as JSON.parse does", () => {
  const value = fc.jsonValue({ maxDepth: 6 }).filter((one) =>
    !/__proto__|prototype|\\u0000/.test(JSON.stringify(one))
  );
  fc.assert(fc.property(value, fc.constantFrom(0, 2), (one, indent) => {
    const text = JSON.stringify(one, null, indent);
    let read: unknown;
    try {
      read = parseStrictJson(text, 1e6);
    } catch (error) {
      // The keys and characters that are refused on purpose, which the generator may hit.
      assert(error instanceof JsonFault && error.code !== "json_invalid", text);
      return;
    }
    assertEquals(read, JSON.parse(text));
  }));
});

Deno.test("strict JSON refuses whatever JSON.parse refuses", () => {
  const mutated = fc.tuple(
    fc.json({ maxDepth: 3 }),
    fc.nat(),
    fc.constantFrom("", ",", "}", "]", '"', "x", "0", "\\"),
  );
  fc.assert(
    fc.property(mutated, ([text, at, put]) => {
      const cut = at % (text.length + 1);
      const broken = text.slice(0, cut) + put + text.slice(cut + 1);
      let isJson = true;
      try {
        JSON.parse(broken);
      } catch {
        isJson = false;
      }
      let code: JsonFault["code"] | null = null;
      try {
        parseStrictJson(broken, 1e6);
      } catch (error) {
        code = (error as JsonFault).code;
      }
      // What is refused for another reason may come first in a text that is no JSON either.
      if (isJson) assertNotEquals(code, "json_invalid", broken);
      else assertNotEquals(code, null, broken);
    }),
    { numRuns: 500 },
  );
});

Deno.test("strict JSON says line and column of the first error", () => {
  const text = '{\n  "a": 1,\n  "b": tru\n}';
  assertEquals(position(text, fault(text).offset), { line: 3, column: 8 });
});

Deno.test("strict JSON refuses a second document, a trailing comma, comments and single quotes", () => {
  for (
    const text of [
      "{} {}",
      "[1,]",
      '{"a":1,}',
      "// no\n{}",
      "{'a':1}",
      "",
      "  ",
      "NaN",
      "+1",
      "01",
      ".5",
      '"\t"',
    ]
  ) {
    assertEquals(codeOf(text), "json_invalid", text);
  }
});

Deno.test("strict JSON refuses a key given twice, where it stands the second time", () => {
  const found = fault('{"a":{"b":1,"b":2}}');
  assertEquals([found.code, found.offset, found.path], ["json_duplicate_key", 12, ["a", "b"]]);
});

Deno.test("strict JSON refuses keys that objects inherit, and leaves Object.prototype as it is", () => {
  const before = Object.getOwnPropertyNames(Object.prototype).length;
  for (const key of ["__proto__", "constructor", "prototype", "toString", "\\u005f_proto__"]) {
    assertEquals(codeOf(`{"a":{"${key}":{"polluted":true}}}`), "key_forbidden", key);
  }
  assertEquals(Object.getOwnPropertyNames(Object.prototype).length, before);
  assertEquals(({} as { polluted?: boolean }).polluted, undefined);
});

Deno.test("strict JSON refuses numbers that would become others", () => {
  for (const text of ["1e309", "-1e309", "9007199254740992", "-9007199254740992", "1".repeat(400)]) {
    assertEquals(codeOf(text), "out_of_range", text);
  }
  assertEquals(parseStrictJson("9007199254740991", 1), 9007199254740991);
  assertEquals(parseStrictJson("-0.5e-3", 1), -0.0005);
});

Deno.test("strict JSON refuses texts that a database cannot keep", () => {
  assertEquals(codeOf('"\\u0000"'), "character_forbidden");
  assertEquals(codeOf('"\\ud800"'), "character_forbidden");
  assertEquals(parseStrictJson('"\\ud83d\\ude00 \\n"', 1), "😀 \n");
});

Deno.test("strict JSON refuses what is nested too deeply, and takes what just fits", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  assertEquals(codeOf(nested(MAX_DEPTH + 1)), "too_deep");
  assertEquals(codeOf('{"a":'.repeat(10_000) + "1" + "}".repeat(10_000)), "too_deep");
  parseStrictJson(nested(MAX_DEPTH), 1000);
});

Deno.test("strict JSON counts keys and items together", () => {
  assertEquals(codeOf(`[${Array(11).fill(1).join()}]`, 10), "too_many_items");
  assertEquals(codeOf('{"a":1,"b":2,"c":[1]}', 3), "too_many_items");
  parseStrictJson('{"a":1,"b":2,"c":[1]}', 4);
});
