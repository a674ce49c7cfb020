import { assertEquals } from "@std/assert";
import { Desk, json } from "../../tests/support/cli_desk.ts";

Deno.test("an explanation is a sentence first, then its causes, what comes next, and how the last run ended", async () => {
  await using desk = new Desk(() =>
    json({
      jobId: "1",
      verdict: "paused",
      sentence: "Paused by ann.",
      note: "the first 02:30 of this day",
      evidence: [{ kind: "job", id: "1", at: null }],
      causes: [{
        code: "paused",
        since: "2026-11-24T10:00:00.000Z",
        until: null,
        sentence: "Paused by ann.",
      }],
      next: [{ at: "2026-11-24T11:00:00.000Z", code: "paused", sentence: "It will not run.", note: null }],
      last: { sentence: "Occurrence 7 completed\u001b[2J." },
    })
  );
  const { code, out } = await desk.run(["jobs", "explain", "1"]);
  assertEquals(code, 0);
  assertEquals(out.split("\n"), [
    "paused: Paused by ann.",
    "Note: the first 02:30 of this day",
    "",
    "KIND  ID  AT",
    "job   1   -",
    "",
    "CODE    SINCE                     UNTIL  SENTENCE",
    "paused  2026-11-24T10:00:00.000Z  -      Paused by ann.",
    "",
    "AT                        CODE    SENTENCE          NOTE",
    "2026-11-24T11:00:00.000Z  paused  It will not run.  -",
    "",
    "Last run: Occurrence 7 completed\\u001b[2J.",
    "",
  ]);
});
