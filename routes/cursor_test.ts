import { assertEquals, assertRejects } from "@std/assert";
import { readCursor, writeCursor } from "./cursor.ts";
import { ApiProblem } from "./errors.ts";

const scope = { storeId: "store-a", list: ["jobs", [["tag", "x"]]] };

async function refused(cursor: string, of = scope): Promise<string> {
  return (await assertRejects(() => readCursor(of, cursor), ApiProblem)).code;
}

Deno.test("a cursor gives back its key, and there is none at the end", async () => {
  const cursor = await writeCursor(scope, "2026 ümlaut");
  assertEquals(await readCursor(scope, cursor ?? ""), "2026 ümlaut");
  assertEquals(await writeCursor(scope, null), null);
  assertEquals(await readCursor(scope, undefined), null);
});

Deno.test("a cursor of another list, filter or store is refused", async () => {
  const cursor = await writeCursor(scope, "key") ?? "";
  assertEquals(await refused(cursor, { ...scope, storeId: "store-b" }), "cursor_invalid");
  assertEquals(await refused(cursor, { ...scope, list: ["jobs", [["tag", "y"]]] }), "cursor_invalid");
  assertEquals(await refused(cursor, { ...scope, list: ["occurrences", [["tag", "x"]]] }), "cursor_invalid");
});

Deno.test("a cursor that was made up is refused", async () => {
  const cursor = await writeCursor(scope, "key") ?? "";
  const forged = btoa(JSON.stringify(["other", "AAAAAAAAAAAA"])).replaceAll("=", "");
  for (const wrong of ["", "x", "%00", "e30", forged, cursor.slice(1), cursor + "A", "1".repeat(500)]) {
    assertEquals(await refused(wrong), "cursor_invalid", wrong);
  }
});
