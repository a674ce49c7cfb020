/** What statements took between two looks, from counters that only grow or begin anew. */
import { assertEquals } from "@std/assert";
import type { StatementTotals } from "../postgres/server_load.ts";
import type { Look } from "./look.ts";
import { costlyBetween } from "./statements.ts";

const texts = (ids: readonly string[]) => Promise.resolve(new Map(ids.map((id) => [id, `SELECT ${id}`])));

function looks(...all: readonly (readonly StatementTotals[] | null)[]): readonly Look[] {
  return all.map((statementTotals, at) => ({ at: at * 10_000, statementTotals }) as unknown as Look);
}

Deno.test("only what ended within the window counts, the costliest first", async () => {
  const found = await costlyBetween(
    looks(
      [{ id: "old", calls: 9, totalMs: 90_000 }, { id: "quick", calls: 10, totalMs: 10 }, {
        id: "slow",
        calls: 100,
        totalMs: 100,
      }],
      [{ id: "old", calls: 9, totalMs: 90_000 }, { id: "quick", calls: 9010, totalMs: 9010 }, {
        id: "slow",
        calls: 110,
        totalMs: 2100,
      }, { id: "new", calls: 1, totalMs: 5000 }],
    ),
    texts,
  );
  assertEquals(found, [
    { text: "SELECT new", calls: 1, meanMs: 5000, share: 0.5 },
    { text: "SELECT slow", calls: 10, meanMs: 200, share: 0.2 },
  ]);
});

Deno.test("counters that were reset begin anew; a server that does not count is null, one look is nothing", async () => {
  const [before, after] = [[{ id: "a", calls: 50, totalMs: 9000 }], [{ id: "a", calls: 2, totalMs: 100 }]];
  assertEquals(await costlyBetween(looks(before, after), texts), [
    { text: "SELECT a", calls: 2, meanMs: 50, share: 0.01 },
  ]);
  assertEquals(await costlyBetween(looks(null, null), texts), null);
  assertEquals(await costlyBetween(looks(null, before), texts), []);
});

Deno.test("texts that cannot be read take nothing else with them", async () => {
  const refused = () => Promise.reject(new Error("connection refused"));
  const all = looks([], [{ id: "a", calls: 2, totalMs: 100 }]);
  assertEquals(await costlyBetween(all, refused), []);
});
