import { assertEquals } from "@std/assert";
import type { AttemptRequest } from "../actors/ports/pool.ts";
import { Suspects } from "./suspects.ts";

function request(occurrenceId: string, jobId: string): AttemptRequest {
  return {
    occurrenceId,
    jobId,
    jobType: "AnyJob",
    scheduledFor: 0,
    token: 1,
    attempt: 1,
    maxAttempts: 1,
    jobData: "{}",
    timeoutMs: null,
  };
}

Deno.test("a suspect occurrence runs alone until it has run; other occurrences of its job do not", () => {
  const suspects = new Suspects();
  const [first, second] = [request("o1", "j"), request("o2", "j")];
  suspects.suspect(first);
  assertEquals([suspects.mustRunAlone(first), suspects.mustRunAlone(second)], [true, false]);
  suspects.acquit(first);
  assertEquals(suspects.mustRunAlone(first), false);
});

Deno.test("every occurrence of a guilty job runs alone until one of them survives", () => {
  const suspects = new Suspects();
  const [first, second] = [request("o1", "j"), request("o2", "j")];
  suspects.convict(first);
  assertEquals([suspects.mustRunAlone(first), suspects.mustRunAlone(second)], [true, true]);
  suspects.acquit(second);
  assertEquals([suspects.mustRunAlone(first), suspects.mustRunAlone(second)], [false, false]);
});

Deno.test("suspicions are bounded: the oldest is forgotten first", () => {
  const suspects = new Suspects();
  for (let number = 0; number < 10_001; number++) suspects.suspect(request(`o${number}`, "j"));
  assertEquals(suspects.mustRunAlone(request("o0", "j")), false);
  assertEquals(suspects.mustRunAlone(request("o1", "j")), true);
});
