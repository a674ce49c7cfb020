import { assertEquals } from "@std/assert";
import { z } from "zod";
import { choiceField, instantField, lineField } from "./fields.ts";
import { errorsOf } from "./validation.ts";

const schema = z.strictObject({
  name: lineField(10),
  policy: choiceField(["Skip", "Queue"]).nullable().optional(),
  at: instantField.optional(),
  count: z.int().min(1).max(5),
  to: z.union([z.string(), z.number()]).optional(),
  items: z.array(z.strictObject({ jobData: z.unknown().optional() })).max(2).optional(),
});

function found(value: unknown): readonly string[] {
  return errorsOf(schema, value).map(({ pointer, code }) => `${pointer} ${code}`).sort();
}

Deno.test("validation names all errors of a body at once, each with its place and a stable code", () => {
  const body = {
    name: " x",
    policy: "Later",
    at: "2026-02-30T00:00:00Z",
    count: 9,
    to: null,
    items: [{ jobdata: 1 }],
  };
  assertEquals(found(body), [
    "/at date_invalid",
    "/count out_of_range",
    "/items/0/jobdata unknown_field",
    "/name untrimmed",
    "/policy choice_unknown",
    "/to type",
  ]);
});

Deno.test("validation tells what is missing from what has the wrong type", () => {
  assertEquals(found({ count: "5" }), ["/count type", "/name required"]);
  assertEquals(found({ name: "x", count: 5.5 }), ["/count type"]);
  assertEquals(found([]), [" type"]);
});

Deno.test("validation names the field that was meant", () => {
  const [error] = errorsOf(schema, { name: "x", count: 1, pollicy: 0 });
  assertEquals([error?.field, error?.allowed], ["pollicy", ["policy"]]);
  assertEquals(error?.message, "pollicy is not known here. Did you mean policy?");
});

Deno.test("choices are read by name and by number, and by nothing else", () => {
  const read = (policy: unknown) => schema.safeParse({ name: "x", count: 1, policy }).data?.policy;
  assertEquals([read("Queue"), read(0), read(1), read(null)], ["Queue", "Skip", "Queue", null]);
  for (const wrong of ["queue", "1", 2, -1, 0.5, true, []]) {
    assertEquals(
      found({ name: "x", count: 1, policy: wrong }),
      ["/policy choice_unknown"],
      JSON.stringify(wrong),
    );
  }
});

Deno.test("a pointer escapes what JSON pointers escape", () => {
  const [error] = errorsOf(z.strictObject({}), { "a/b~c": 1 }, ["jobData"]);
  assertEquals(error?.pointer, "/jobData/a~1b~0c");
});
