/** Explanations are read by people: whatever was stored, they are told in whole sentences. */
import { assert } from "@std/assert";
import fc from "fast-check";
import {
  anyJob,
  anyMoment,
  anyOccurrence,
  anySurroundings,
} from "../../tests/support/explained_by_chance.ts";
import { MINUTE, NOW } from "../../tests/support/explained.ts";
import { explainDueTime } from "./explain.ts";
import { explainJob } from "./job_explanation.ts";
import { explainOccurrence } from "./occurrence_explanation.ts";
import { RANGE_REASONS } from "./verdict.ts";

/** A capital (or a number, or the name of a person) first; a full stop last, and no second one. */
function assertWhole(text: string): void {
  assert(/^([A-Z0-9]|ann )/.test(text), `begins as a sentence does: ${text}`);
  assert(/[^.!?\s][.!]$/.test(text), `ends as a sentence does: ${text}`);
  assert(!/\.\.|[.!] ?[.;,]| [.,]| {2}/.test(text), `has its stops where they belong: ${text}`);
  const lacking = /[a-z0-9)"] (It|The|From|A probe|No|Nothing|All|Occurrence|As) /.exec(text);
  assert(lacking === null, `lacks a full stop before "${lacking?.[1]}": ${text}`);
}

Deno.test("property: a job is explained in whole sentences", () => {
  const newest = fc.array(anyOccurrence, { maxLength: 3 });
  fc.assert(
    fc.property(anyJob, newest, fc.option(anyOccurrence), anySurroundings, (job, newest, holder, around) => {
      const told = explainJob({ job, newest, holder, holding: newest.length, around }, 5);
      assertWhole(told.sentence);
      for (const { sentence } of [...told.causes, ...told.next]) assertWhole(sentence);
      if (told.last !== null) assertWhole(told.last.sentence);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("property: an occurrence is explained in whole sentences", () => {
  const blockedBy = fc.constantFrom(null, "occurrence-0");
  fc.assert(
    fc.property(
      anyOccurrence,
      blockedBy,
      fc.option(anyOccurrence),
      anySurroundings,
      (occurrence, blockedBy, holder, around) => {
        const told = explainOccurrence({ occurrence, blockedBy, holder, holding: 2, around });
        assertWhole(told.sentence);
        for (const { sentence } of told.causes) assertWhole(sentence);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("property: a due time is explained in whole sentences", () => {
  const range = fc.record({
    jobId: fc.constant("job-1"),
    jobVersion: fc.integer({ min: 0, max: 1 }),
    from: fc.constant(NOW - 120 * MINUTE),
    to: fc.constant(NOW),
    count: fc.integer({ min: 1, max: 2 }),
    reason: fc.constantFrom(...RANGE_REASONS),
    by: fc.constant("ann"),
    note: fc.constantFrom(null, "stocktaking"),
    decidedAt: anyMoment,
  });
  const at = fc.integer({ min: -4, max: 4 }).map((halves) => NOW + halves * 30 * MINUTE);
  fc.assert(
    fc.property(
      anyJob,
      at,
      fc.option(anyOccurrence),
      fc.option(range),
      (job, at, occurrence, range) =>
        assertWhole(explainDueTime({ job, at, occurrence, range, now: NOW }).sentence),
    ),
    { numRuns: 1000 },
  );
});
