import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { editDistance, nearestNames } from "./nearest.ts";

const JOB_TYPES = ["SampleJob", "SendEmailJob", "GenerateReportJob", "MigrationJob"];

Deno.test("a slip of the finger finds the name that was meant", () => {
  assertEquals(nearestNames("SmapleJob", JOB_TYPES), ["SampleJob"]);
  assertEquals(nearestNames("sendemailjob", JOB_TYPES), ["SendEmailJob"]);
  assertEquals(nearestNames("cronExpresion", ["cronExpression", "description"]), ["cronExpression"]);
});

Deno.test("the beginning of a name finds it", () => {
  assertEquals(nearestNames("Generate", JOB_TYPES), ["GenerateReportJob"]);
});

Deno.test("a name like no other finds nothing", () => {
  assertEquals(nearestNames("Kubernetes", JOB_TYPES), []);
  assertEquals(nearestNames("", JOB_TYPES), []);
});

Deno.test("nearer names come first, and at most three", () => {
  assertEquals(nearestNames("abcdef", ["abcdeg", "abcdef", "abcdeh", "abcdei"]), [
    "abcdef",
    "abcdeg",
    "abcdeh",
  ]);
});

Deno.test("edit distance is a metric: zero for equals, the same both ways, bounded by the longer text", () => {
  assertEquals(editDistance("ab", "ba"), 1);
  const text = fc.string({ maxLength: 12 });
  fc.assert(fc.property(text, text, (a, b) => {
    const distance = editDistance(a, b);
    assertEquals(distance === 0, a === b);
    assertEquals(distance, editDistance(b, a));
    assert(distance <= Math.max(a.length, b.length));
  }));
});
