import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { jobWith, NOW, occurrenceOf, surroundingsWith, workerWith } from "../../tests/support/explained.ts";
import { explainDueTime } from "./explain.ts";
import { explainJob } from "./job_explanation.ts";
import { explainOccurrence } from "./occurrence_explanation.ts";
import type { LapsingAttempt } from "./silent_run.ts";
import type { Surroundings } from "./surroundings.ts";

const SECOND = 1000;
const run = occurrenceOf({
  status: "Running",
  startedAt: NOW - 60 * SECOND,
  instanceId: "worker-1",
  attempt: 1,
  token: 1,
});
/** Renewed nine seconds ago: a lease is fifteen seconds. */
const lapsing: LapsingAttempt = {
  occurrenceId: run.id,
  token: 1,
  instanceId: "worker-1",
  leaseUntil: NOW + 6 * SECOND,
};

function explained(change: Partial<Surroundings>) {
  const around = surroundingsWith(change);
  return explainOccurrence({ occurrence: run, blockedBy: null, holder: run, holding: 1, around });
}

Deno.test("a run whose worker is silent says since when, and when it is taken for lost", () => {
  const { code, causes, sentence } = explained({ workers: [], lapsing: [lapsing] });
  assertEquals([code, causes.map((one) => one.code)], ["worker-silent", ["worker-silent"]]);
  const [cause] = causes;
  assertEquals([cause?.since, cause?.until], [NOW - 9 * SECOND, NOW + 7500]);
  assertEquals(cause?.evidence.map(({ kind, id }) => `${kind} ${id}`), [
    "occurrence occurrence-1",
    "worker worker-1",
  ]);
  assertStringIncludes(
    sentence,
    "Worker instance worker-1, which runs occurrence occurrence-1, has been silent since 2026-06-01T11:59:51.000Z " +
      "(9 s ago). Unless it is heard of again, the run is taken for lost at about 2026-06-01T12:00:07.500Z (its lease " +
      "ends at 2026-06-01T12:00:06.000Z).",
  );
});

Deno.test("a run whose worker cannot report says so: it may have ended", () => {
  const worker = workerWith({ instanceId: "worker-1", reportsHeldBack: 2 });
  const { code, sentence } = explained({ workers: [worker] });
  assertEquals(code, "reports-held-back");
  assertStringIncludes(
    sentence,
    "Worker instance worker-1 cannot reach the broker and holds back 2 reports, which go out when it can: the run may " +
      "have ended already.",
  );
  const silent = explained({ workers: [{ ...worker, lastSeenAt: NOW - 9 * SECOND }], lapsing: [lapsing] });
  assertEquals(silent.causes.map((one) => one.code), ["worker-silent"]);
});

Deno.test("a job says so of its runs, before what these keep waiting, whatever its policy", () => {
  const around = surroundingsWith({ workers: [workerWith({ instanceId: "worker-2" })], lapsing: [lapsing] });
  const facts = { newest: [run], around };
  const held = explainJob({ ...facts, job: jobWith(), holder: run, holding: 1 }, 1);
  assertEquals(held.causes.map(({ code }) => code), ["worker-silent", "overlap"]);
  assertStringIncludes(held.sentence, "Worker instance worker-1, which runs occurrence occurrence-1,");
  const beside = jobWith({ concurrentExecutionPolicy: "Allow" });
  const free = explainJob({ ...facts, job: beside, holder: null, holding: 0 }, 1);
  assertEquals([free.code, free.causes.length], ["worker-silent", 1]);
});

Deno.test("the due time of a run whose worker is silent says so", () => {
  const around = surroundingsWith({ workers: [], lapsing: [lapsing] });
  const at = NOW - 60 * 60 * SECOND;
  const told = explainDueTime({ job: jobWith(), at, occurrence: run, range: null, now: NOW, around });
  assertEquals(told.verdict, "Running");
  assertStringIncludes(told.sentence, "has been silent since 2026-06-01T11:59:51.000Z");
});

Deno.test("a worker that was seen later than the lease was renewed is silent since then", () => {
  const seen = workerWith({ lastSeenAt: NOW - 8 * SECOND, running: [{ occurrenceId: run.id, token: 1 }] });
  const [cause] = explained({ workers: [seen], lapsing: [lapsing] }).causes;
  assertEquals([cause?.since, cause?.until], [NOW - 8 * SECOND, NOW + 8500]);
});

Deno.test("what one of the two paths keeps alive is not silent", () => {
  const names = workerWith({ lastSeenAt: NOW - 2 * SECOND, running: [{ occurrenceId: run.id, token: 1 }] });
  assertEquals(explained({ workers: [names], lapsing: [lapsing] }).code, "Running");
  assertEquals(explained({ workers: [workerWith()] }).code, "Running", "its lease is renewed");
  const young = { ...lapsing, leaseUntil: NOW + 7501 };
  assertEquals(explained({ workers: [workerWith()], lapsing: [young] }).code, "Running");
  assertEquals(explained({ workers: [workerWith()], lapsing: [{ ...lapsing, token: 2 }] }).code, "Running");
});

Deno.test("a worker that is there and does not say that it runs it is told apart from one that is silent", () => {
  const { causes } = explained({ workers: [workerWith()], lapsing: [lapsing] });
  assertStringIncludes(
    causes[0]?.sentence ?? "",
    "is there and has not said since 2026-06-01T11:59:51.000Z (9 s ago) that it still runs it",
  );
});

Deno.test("a worker that is gone while the lease goes on, as a long one does, is told of", () => {
  const [cause] = explained({ workers: [workerWith({ instanceId: "worker-2" })] }).causes;
  assertEquals([cause?.code, cause?.since, cause?.until], ["worker-silent", null, null]);
  assertStringIncludes(cause?.sentence ?? "", "is not there any more");
});

Deno.test("while nobody leads, or presence cannot be asked, no run is taken for lost, and no moment is named", () => {
  const leaderless = explained({ workers: [], lapsing: [lapsing], leader: null });
  assertEquals(leaderless.causes[0]?.until, null);
  assertStringIncludes(leaderless.sentence, "Nobody leads");
  const unknown = explained({ workers: null, lapsing: [lapsing] });
  assertEquals([unknown.code, unknown.causes[0]?.until], ["worker-silent", null]);
  assertStringIncludes(unknown.sentence, "While presence cannot be asked, no run is taken for lost.");
});

Deno.test("a leader that came later watches from then on", () => {
  const leader = { epoch: 8, holder: "api-2", since: NOW - SECOND, leaseUntil: NOW + 14_000, endedAt: null };
  const [cause] = explained({ workers: [], lapsing: [lapsing], leader }).causes;
  assertEquals(cause?.until, NOW + 15_500);
});

Deno.test("who asked for the end of a run whose worker is silent is told first, and both are", () => {
  const cancel = { by: "ann", reason: "wrong data", requestedAt: NOW - 1 };
  const around = surroundingsWith({ workers: [], lapsing: [lapsing] });
  const facts = { occurrence: { ...run, cancel }, blockedBy: null, holder: null, holding: 0, around };
  const { causes, sentence } = explainOccurrence(facts);
  assertEquals(causes.map(({ code }) => code), ["cancel-requested", "worker-silent"]);
  assert(sentence.includes("ann asked for its end") && sentence.includes("has been silent since"));
});
