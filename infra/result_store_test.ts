import { assert, assertEquals } from "@std/assert";
import type { Outcome, Report } from "../actors/domain/message.ts";
import type { ReportQueue } from "../actors/ports/queue.ts";
import { KeptLog } from "../tests/support/quiet.ts";
import { ResultStore } from "./result_store.ts";

const LARGE = JSON.stringify("ü".repeat(600));
const SMALL = JSON.stringify("x".repeat(1000));

function report(outcome: Outcome): Report {
  return {
    occurrenceId: "one",
    scheduledFor: 1,
    jobId: "job",
    token: 1,
    workerId: "pool",
    instanceId: "worker-1",
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    outcome,
  };
}

/** Sends these outcomes, to a store that answers so; gives what went on and what was written. */
async function sent(
  outcomes: readonly Outcome[],
  answer: () => Promise<boolean>,
): Promise<
  { readonly outcomes: readonly Outcome[]; readonly kept: readonly string[]; readonly log: KeptLog }
> {
  const reports: Report[] = [];
  const kept: string[] = [];
  const log = new KeptLog();
  const queue = {
    sendReports: (some: readonly Report[]) => Promise.resolve(void reports.push(...some)),
  } as unknown as ReportQueue;
  const results = {
    keep: (_: unknown, result: string) => {
      kept.push(result);
      return answer();
    },
  };
  const store = new ResultStore({ reports: queue, results, inlineBytes: 1024, log });
  await store.sendReports(outcomes.map(report));
  return { outcomes: reports.map(({ outcome }) => outcome), kept, log };
}

Deno.test("a result above the threshold is written to the store, and its report says so", async () => {
  const failed: Outcome = { kind: "timedOut", rung: "signal", limitMs: 1 };
  const small: Outcome = { kind: "completed", result: SMALL };
  const done = await sent(
    [small, { kind: "completed", result: LARGE }, failed, { kind: "completed", result: null }],
    () => Promise.resolve(true),
  );
  assertEquals(done.kept, [LARGE]);
  assertEquals(done.outcomes, [
    small,
    { kind: "completed", result: '{"kept":"in the store","bytes":1202}', resultIsKept: true },
    failed,
    { kind: "completed", result: null },
  ]);
});

Deno.test("a result that the store does not take travels in its report", async () => {
  const large: Outcome = { kind: "completed", result: LARGE };
  assertEquals((await sent([large], () => Promise.resolve(false))).outcomes, [large]);
  const { outcomes, log } = await sent([large], () => Promise.reject(new Error("the database is away")));
  assertEquals(outcomes, [large]);
  assert(log.lines.some(({ message }) => /travels in its report: the database is away/.test(message)));
});
