import { assertEquals } from "@std/assert";
import { matchesWildcard } from "./wildcard.ts";

Deno.test("a pattern without * is a whole name, in letters of either case", () => {
  assertEquals(matchesWildcard("report.#", "Report.#"), true);
  assertEquals(matchesWildcard("report", "reports"), false);
  assertEquals(matchesWildcard("", ""), true);
});

Deno.test("* stands for any characters, none included, and no character serves twice", () => {
  for (const pattern of ["*", "report.*", "*.*", "re*rt*", "report.**"]) {
    assertEquals(matchesWildcard(pattern, "report.*"), true, pattern);
  }
  for (
    const [pattern, name] of [["aba*aba", "aba"], ["a*b*b", "ab"], ["report.*", "reports"], ["a*", "ba"]]
  ) {
    assertEquals(matchesWildcard(pattern ?? "", name ?? ""), false, `${pattern} ${name}`);
  }
});
