import { assertEquals, assertStringIncludes } from "@std/assert";
import { startingAnswer } from "./starting.ts";

Deno.test("an instance that is starting is alive, not ready, and says what it waits for", async () => {
  const ask = (path: string, waitingFor: string | null) =>
    startingAnswer(new Request(`http://127.0.0.1${path}`), waitingFor);
  assertEquals(ask("/livez", "PostgreSQL (db:5432)").status, 200);
  for (const path of ["/readyz", "/api/v1/jobs", "/"]) {
    const answer = ask(path, "PostgreSQL (db:5432)");
    assertEquals([answer.status, answer.headers.get("content-type")], [503, "application/problem+json"]);
    const problem = await answer.json();
    assertEquals(problem.code, "not_ready");
    assertStringIncludes(problem.detail, "waits for PostgreSQL (db:5432)");
  }
  assertEquals((await ask("/readyz", null).json()).detail, "This instance is starting.");
});
