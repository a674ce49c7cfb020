/** Every due time that has come has one verdict, whatever happened to the job meanwhile. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { jobWith, MINUTE, NOW, occurrenceOf } from "../../tests/support/explained.ts";
import { DEFAULTS } from "../../tests/support/node.ts";
import { explainDueTime } from "./explain.ts";
import type { Job } from "./job.ts";
import { resumedAt } from "./kept.ts";
import type { Occurrence } from "./occurrence.ts";
import { planDecision } from "./plan.ts";
import { dueTimes } from "./schedule.ts";
import { RANGE_REASONS, type VerdictRange } from "./verdict.ts";

type Step =
  | { readonly kind: "wait"; readonly minutes: number; readonly isLed: boolean }
  | { readonly kind: "pause"; readonly minutes: number }
  | { readonly kind: "resume" }
  | { readonly kind: "activate"; readonly isActive: boolean };

const steps = fc.array(
  fc.oneof<fc.Arbitrary<Step>[]>(
    fc.record({
      kind: fc.constant("wait"),
      minutes: fc.integer({ min: 1, max: 90 }),
      isLed: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("pause"), minutes: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ kind: fc.constant("resume") }),
    fc.record({ kind: fc.constant("activate"), isActive: fc.boolean() }),
  ),
  { minLength: 1, maxLength: 20 },
);

Deno.test("property: each past due time of a history has exactly one verdict of the ledger, and is never without record", () => {
  fc.assert(fc.property(
    steps,
    fc.constantFrom("Skip" as const, "FireOnce" as const, "FireAll" as const),
    (history, misfirePolicy) => {
      const ledger = new Ledger(
        jobWith({ misfirePolicy, createdAt: NOW, updatedAt: NOW, nextDueAt: NOW + EACH }),
      );
      for (const step of history) ledger.take(step);
      ledger.check();
    },
  ));
});

const EACH = 5 * MINUTE;

/** What the dispatcher and the store make of a job, in memory. */
class Ledger {
  now = NOW;
  readonly occurrences = new Map<number, Omit<Occurrence, "jobData">>();
  readonly ranges: VerdictRange[] = [];

  constructor(private job: Job) {
    const { schedule } = job;
    if (schedule.kind !== "cron") throw new Error("The job of this test has a cron schedule");
    this.job = { ...job, schedule: { ...schedule, expression: "*/5 * * * *", resolved: "0 */5 * * * *" } };
  }

  take(step: Step): void {
    switch (step.kind) {
      case "wait":
        this.now += step.minutes * MINUTE + 1000;
        if (step.isLed) this.#decide();
        return;
      case "pause":
        this.job = {
          ...this.job,
          pause: { by: "ann", reason: "because", since: this.now, until: this.now + step.minutes * MINUTE },
        };
        return;
      case "resume":
        this.job = { ...this.job, pause: resumedAt(this.job, this.now) };
        return;
      case "activate":
        this.job = { ...this.job, isActive: step.isActive, version: this.job.version + 1 };
        return;
    }
  }

  #decide(): void {
    const planned = planDecision(this.job, this.now, {
      misfireThresholdMs: 60_000,
      maxDueTimes: 500,
      instanceId: "api-1",
      defaults: DEFAULTS,
      newId: () => "id",
      catchUpSpacingMs: 1000,
      pace: (earliest) => earliest,
    });
    if (!planned.ok) return;
    const { slots, ranges, nextDueAt } = planned.decision;
    for (const { dueAt, origin } of slots) {
      assert(!this.occurrences.has(dueAt), "no due time is decided twice");
      this.occurrences.set(dueAt, occurrenceOf({ scheduledFor: dueAt, origin, status: "Completed" }));
    }
    for (const range of ranges) {
      this.ranges.push({
        note: null,
        ...range,
        jobId: this.job.id,
        jobVersion: this.job.version,
        decidedAt: this.now,
      });
    }
    this.job = { ...this.job, nextDueAt };
  }

  check(): void {
    for (const at of dueTimes(this.job.schedule, NOW + 1, this.now, 10_000)) {
      const occurrence = this.occurrences.get(at) ?? null;
      const ranges = this.ranges.filter(({ from, to }) => from <= at && at <= to);
      const isUndecided = this.job.nextDueAt !== null && this.job.nextDueAt <= at;
      assertEquals([occurrence !== null, ranges.length > 0, isUndecided].filter(Boolean).length, 1);
      const { verdict, sentence } = explainDueTime({
        job: this.job,
        at,
        occurrence,
        range: ranges[0] ?? null,
        now: this.now,
      });
      const told = occurrence?.status ?? ranges[0]?.reason ?? "undecided";
      assertEquals(verdict, told);
      assert(["Completed", "undecided", ...RANGE_REASONS].includes(verdict) && sentence.endsWith("."));
    }
  }
}
