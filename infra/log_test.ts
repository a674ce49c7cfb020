import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fastCheck from "fast-check";
import { createLog, type LogOptions } from "./log.ts";

const AT = Date.UTC(2026, 10, 24, 10, 0, 5, 7);

function logInto(lines: string[], options: Partial<LogOptions> = {}) {
  return createLog({
    level: "info",
    format: "json",
    colors: false,
    secrets: [],
    now: () => AT,
    write: (line) => lines.push(line),
    ...options,
  });
}

Deno.test("a JSON line holds time to the millisecond, level, sentence and fields", () => {
  const lines: string[] = [];
  logInto(lines).with({ actor: "leader" }).warn("Leading", { epoch: 3, gone: undefined, holder: null });
  assertEquals(lines, [
    '{"time":"2026-11-24T10:00:05.007Z","level":"warn","msg":"Leading","actor":"leader","epoch":3,"holder":null}\n',
  ]);
});

Deno.test("lines below the level are not written", () => {
  const lines: string[] = [];
  const log = logInto(lines, { level: "warn" });
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  assertEquals(lines.map((line) => JSON.parse(line).msg), ["c", "d"]);
});

Deno.test("the pretty form is one line with quoted fields, and coloured only when asked", () => {
  const lines: string[] = [];
  logInto(lines, { format: "pretty" }).info("Listening", { url: "http://a/", why: "two words", n: 1 });
  logInto(lines, { format: "pretty", colors: true }).error("Oh");
  assertEquals(lines[0], '10:00:05.007 info  Listening  url=http://a/ why="two words" n=1\n');
  assertStringIncludes(lines[1] ?? "", "\x1b[31merror\x1b[0m Oh");
});

Deno.test("text from outside can neither forge a line nor steer the terminal", () => {
  const lines: string[] = [];
  const evil = 'x\n10:00:05.007 error Forged \x1b[2J\u202e\u0007 "';
  logInto(lines, { format: "pretty" }).info(evil, { evil, ["na\nme"]: 1 });
  const [line = ""] = lines;
  assertEquals(line.indexOf("\n"), line.length - 1);
  // deno-lint-ignore no-control-regex -- that is what must not be there
  assert(!/[\x00-\x09\x0b-\x1f\x7f\u202e]/.test(line));
});

Deno.test("a field cannot take the place of time, level or sentence", () => {
  const lines: string[] = [];
  logInto(lines).info("true word", { msg: "forged", level: "debug" });
  assertEquals(JSON.parse(lines[0] ?? ""), {
    time: "2026-11-24T10:00:05.007Z",
    level: "info",
    msg: "true word",
    msg_: "forged",
    level_: "debug",
  });
});

Deno.test("whatever surrounds a secret, no line shows it", () => {
  fastCheck.assert(
    fastCheck.property(
      fastCheck.string({ minLength: 4, unit: "binary" }).filter((text) => !text.includes("*")),
      fastCheck.string(),
      fastCheck.constantFrom<"json" | "pretty">("json", "pretty"),
      (secret, around, format) => {
        const lines: string[] = [];
        const log = logInto(lines, { format, secrets: [secret] });
        log.with({ own: around + secret }).info(secret + around, { given: secret });
        const text = lines.join("");
        const said = format === "json" ? Object.values(JSON.parse(text)).join("\n") : text;
        // The fixed parts of a line are no secret, even when somebody chose one of them.
        if (!FIXED.some((fixed) => fixed.includes(secret))) assert(!said.includes(secret), text);
      },
    ),
  );
});

const MASKED = "********";
const FIXED = ["2026-11-24T10:00:05.007Z", " info  ", "own=", "given=", MASKED];

Deno.test("an address and the password inside it are both masked", () => {
  const lines: string[] = [];
  const log = logInto(lines, { secrets: ["hunter2", "postgres://me:hunter2@db/x"] });
  log.error("Cannot connect to postgres://me:hunter2@db/x: hunter2 was refused");
  assertStringIncludes(lines[0] ?? "", `Cannot connect to ${MASKED}: ${MASKED} was refused`);
});

Deno.test("a log that cannot be written to stops nobody", () => {
  const log = logInto([], {
    write: () => {
      throw new Error("No space left on device");
    },
  });
  log.error("Store is full");
});
