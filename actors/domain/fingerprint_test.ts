import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { fingerprintOf, normalized, ownFrame } from "./fingerprint.ts";

const of = (message: string, name = "Error", stack: string | null = null) =>
  fingerprintOf({ name, message, stack });

Deno.test("a fingerprint is 16 hexadecimal digits, the same on every machine for ever", () => {
  assertEquals(of("Cannot reach 10.0.0.1:25"), "75d6a04a1cb02430");
  fc.assert(
    fc.property(fc.string({ unit: "binary-ascii", maxLength: 3000 }), fc.string(), (message, name) => {
      assertMatch(of(message, name), /^[0-9a-f]{16}$/);
    }),
  );
});

Deno.test("errors that differ in numbers, ids, hexadecimal and quoted text only are alike", () => {
  const piece = fc.constantFrom("connect to ", "row ", " of table ", ": refused, ", "got ", " (user ", ")");
  const hole = fc.constantFrom("number", "uuid", "hex", "quoted" as const);
  const filled = fc.record({
    number: fc.nat(),
    uuid: fc.uuid(),
    hex: fc.integer({ min: 0, max: 0xffffffff }).map((value) => `0x${value.toString(16)}`),
    quoted: fc.stringMatching(/^[a-zA-Z0-9 .-]{0,30}$/),
  });
  const text = (parts: readonly [string, keyof typeof named][], named: Record<string, string | number>) =>
    parts.map(([fixed, kind]) => `${fixed} ${kind === "quoted" ? `"${named[kind]}"` : named[kind]} `).join(
      "",
    );
  fc.assert(fc.property(
    fc.array(fc.tuple(piece, hole), { minLength: 1, maxLength: 6 }),
    filled,
    filled,
    (parts, one, other) => {
      assertEquals(of(text(parts as never, one)), of(text(parts as never, other)));
    },
  ));
});

Deno.test("errors of another class, other words or another place of the job's code are not alike", () => {
  const word = fc.stringMatching(/^[g-z]{1,12}$/);
  fc.assert(fc.property(word, word, word, (name, message, more) => {
    const stack = `Error: x\n    at ${name} (file:///jobs/a.ts:1:2)`;
    assertNotEquals(of(message, name), of(message, name + more));
    assertNotEquals(of(message, name), of(`${message} ${more}`, name));
    assertNotEquals(of(message, name, stack), of(message, name, stack.replace("a.ts", "b.ts")));
  }));
});

Deno.test("the place is the first frame of the job's own code, without folders and lines", () => {
  const stack = (line: number, folder: string) =>
    [
      "TypeError: x",
      "    at assert (ext:core/01_core.js:1:1)",
      "    at Object.send (file:///root/.cache/node_modules/mailer/lib/index.js:4:5)",
      `    at async sendAll (file://${folder}/send_email.ts?v=${line}:${line}:11)`,
      `    at file://${folder}/other.ts:1:1`,
    ].join("\n");
  assertEquals(ownFrame(stack(12, "/jobs")), "sendAll@send_email.ts");
  assertEquals(of("x", "E", stack(12, "/jobs")), of("x", "E", stack(77, "/srv/app/jobs")));
  assertEquals(ownFrame("Error: x\n    at file:///jobs/plain.ts:3:9"), "@plain.ts");
  assertEquals(ownFrame("Error: x\n    at node:fs:1:1\n    at new Promise (<anonymous>)"), null);
  assertEquals(ownFrame(null), null);
});

Deno.test("a message of any size and shape gives a text of bounded size", () => {
  const long = ["'", '"', "a", "1", " ", "0x", "-"].map((unit) => unit.repeat(1_000_000));
  for (const message of long) assert(normalized(message).length <= 6000);
  const apostrophes = normalized("can't find the user's file in 'tmp 7' or \"x\"");
  assertEquals(apostrophes, "can't find the user's file in '…' or \"…\"");
});
