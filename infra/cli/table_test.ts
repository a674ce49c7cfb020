/** What a verb prints: a table, or with `-o json` the answer as it came. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Desk, JOB, json } from "../../tests/support/cli_desk.ts";

Deno.test("jobs list prints a table, and says on stderr that there is more", async () => {
  await using desk = new Desk(() => json({ items: [JOB], nextCursor: "abc" }));
  const { code, out, error } = await desk.run(["jobs", "list", "--type", "SampleJob", "--limit", "1"]);
  assertEquals(code, 0);
  assertEquals(desk.last.path, "/api/v1/jobs?limit=1&jobType=SampleJob");
  const [head = "", row = ""] = out.split("\n");
  assertMatch(head, /^ID +NAME +TYPE +SCHEDULE +NEXT +STATE$/);
  assertMatch(row, / Hello +SampleJob +\*\/5 \* \* \* \* \* \(UTC\) +2026-11-24T10:00:05\.000Z +active$/);
  assertEquals(error, "There is more: --cursor abc\n");
});

Deno.test("-o json prints the answer as it came and nothing else", async () => {
  await using desk = new Desk(() => json({ items: [JOB], nextCursor: "abc" }));
  const { code, out, error } = await desk.run(["jobs", "list", "-o", "json"]);
  assertEquals([code, JSON.parse(out), error], [0, { items: [JOB], nextCursor: "abc" }, ""]);
});

Deno.test("an empty list is no table, and no error", async () => {
  await using desk = new Desk(() => json({ items: [], nextCursor: null }));
  const ended = await desk.run(["occurrences", "list", "--status", "Failed,TimedOut"]);
  assertEquals(ended, { code: 0, out: "", error: "Nothing found.\n" });
  assertEquals(desk.last.path, "/api/v1/occurrences?status=Failed%2CTimedOut");
});

Deno.test("names from outside cannot steer the terminal", async () => {
  await using desk = new Desk(() =>
    json({ items: [{ ...JOB, displayName: "\x1b[2J\nx" }], nextCursor: null })
  );
  const { out } = await desk.run(["jobs", "list"]);
  assertStringIncludes(out, "\\u001b[2J\\nx");
  assertEquals(out.split("\n").length, 3);
});

Deno.test("a reader that has seen enough ends the command in peace", async () => {
  await using desk = new Desk(() => json({ items: [JOB], nextCursor: null }));
  const { code } = await desk.run(["jobs", "list"], {
    writeOut: () => {
      throw new Deno.errors.BrokenPipe("Broken pipe");
    },
  });
  assertEquals(code, 0);
});
