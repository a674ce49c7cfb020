import { assertEquals } from "@std/assert";
import { z } from "zod";
import { choiceField, instantField, lineField, queryInteger, queryNumber } from "./fields.ts";
import { errorsOf, fieldErrors } from "./validation.ts";

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

Deno.test("a refusal says what was given, and no more of it than helps", () => {
  const schema = z.strictObject({
    retries: z.int().min(0),
    name: z.string().max(3),
    tags: z.array(z.string()).max(1),
    window: queryInteger(60, 600),
    load: queryNumber(0, 10),
    policy: choiceField(["Skip", "Queue"]),
  });
  const said = (value: Record<string, unknown>) =>
    fieldErrors(schema.safeParse(value).error?.issues ?? [], { schema, value }).map(({ message }) => message);
  assertEquals(
    said({ retries: -1, name: "long", tags: ["a", "b"], window: "5", load: "two", policy: 7 }),
    [
      "retries is -1 and must be at least 0.",
      "name has 4 characters and must have at most 3.",
      "tags has 2 items and must have at most 1.",
      "window is 5 and must lie between 60 and 600.",
      'load is "two" and must be a number, such as 2 or 0.5.',
      "policy is 7 and must be one of Skip (0), Queue (1).",
    ],
  );
  assertEquals(said({ retries: "5", name: {}, tags: null, window: "x".repeat(99), load: "1", policy: [] }), [
    'retries is "5" and must be a number.',
    "name is an object and must be a string.",
    "tags is null and must be an array.",
    `window is "${"x".repeat(40)}…" and must be an integer.`,
    "policy is a list and must be one of Skip (0), Queue (1).",
  ]);
});
