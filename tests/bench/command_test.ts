/** What is asked of `deno task bench`: a slip of the finger must not start an hour of something else. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Benchmark } from "./benchmark.ts";
import { readOrder } from "./command.ts";

const row = (name: string): Benchmark => ({
  name,
  about: `what ${name} is`,
  seconds: [10, 10],
  figures: [],
  measure: () => Promise.resolve([]),
});
const GROUNDS = {
  embedded: [row("throughput, 50 lanes"), row("start to first completed job")],
  cluster: [row("throughput, claims through PostgreSQL"), row("guide, API call")],
};

const namesOf = (...args: string[]) => {
  const order = readOrder(args, GROUNDS);
  assert(order.kind === "measure", JSON.stringify(order));
  return order.rows.map(({ benchmark }) => benchmark.name);
};
const refusal = (...args: string[]) => {
  const order = readOrder(args, GROUNDS);
  assert(order.kind === "refused", JSON.stringify(order));
  return order.message;
};

Deno.test("bench --help measures nothing and names each row, what it measures and how long it takes", () => {
  for (const args of [["--help"], ["--cluster", "throughput", "-h"]]) {
    const order = readOrder(args, GROUNDS);
    assert(order.kind === "help");
    for (const { name, about } of [...GROUNDS.embedded, ...GROUNDS.cluster]) {
      assertStringIncludes(order.text, name);
      assertStringIncludes(order.text, about);
    }
    assertStringIncludes(order.text, "40 s");
  }
});

Deno.test("bench refuses an option that it does not know and names the near one", () => {
  assertStringIncludes(refusal("--cluter", "start"), "Did you mean --cluster?");
  assertStringIncludes(refusal("--nosuch"), "--help");
});

Deno.test("bench refuses a word that no row has, whatever other words say, and names the near one or all", () => {
  assertStringIncludes(refusal("thruoghput"), "Did you mean throughput?");
  assertStringIncludes(refusal("start", "nosuch"), "start to first completed job");
  assertStringIncludes(refusal("--cluster", "start"), "Without --cluster there is: start to first");
  assertStringIncludes(refusal("guide"), "With --cluster there is: guide, API call");
});

Deno.test("bench refuses a value that is missing, too much or no number of runs", () => {
  assertStringIncludes(refusal("--runs"), "needs a value");
  assertStringIncludes(refusal("--json", "--quick"), "needs a value");
  assertStringIncludes(refusal("--quick=yes"), "takes no value");
  for (const runs of ["0", "1.5", "many", "101"]) assertStringIncludes(refusal("--runs", runs), "--runs is");
  assertStringIncludes(refusal("--all", "--cluster"), "already");
});

Deno.test("bench takes the rows whose names hold one of the words, in any letter case", () => {
  assertEquals(namesOf(), ["throughput, 50 lanes", "start to first completed job"]);
  assertEquals(namesOf("--cluster", "api"), ["guide, API call"]);
  assertEquals(namesOf("--all", "THROUGHPUT"), [
    "throughput, 50 lanes",
    "throughput, claims through PostgreSQL",
  ]);
  assertEquals(namesOf("--all").length, 4);
});
