import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { LaneRuns, type Run } from "./lane_runs.ts";

function newRun(): Run {
  const running = { cancel: () => {}, recall: () => {} };
  return { leaseFrom: 0, job: null, running, before: null, follower: null };
}

function begun(runs: LaneRuns, at: number): Run {
  const run = newRun();
  runs.begin(run, at);
  return run;
}

/** Has seen so many runs of this length, one after another. Gives the moment after them. */
function learn(runs: LaneRuns, count: number, durationMs: number): number {
  for (let run = 0; run < count; run += 1) runs.end(begun(runs, run * durationMs), durationMs, 0);
  return count * durationMs;
}

Deno.test("it foretells nothing before it has seen runs that are alike", () => {
  const runs = new LaneRuns();
  const first = begun(runs, 0);
  assertEquals([runs.endingWithin(1000, 0), runs.nextEndAfter(0)], [0, null]);
  runs.end(first, 500, 500);
  begun(runs, 500);
  assertEquals(runs.nextEndAfter(500), null, "one run is no pattern");
});

Deno.test("runs end when they have lasted as long as those before", () => {
  const runs = new LaneRuns();
  const now = learn(runs, 40, 100);
  for (const at of [now, now + 5, now + 60]) begun(runs, at);
  assertEquals(runs.endingWithin(20, now + 70), 0);
  assertEquals(runs.nextEndAfter(now + 70), now + 100);
  assertEquals(runs.endingWithin(20, now + 85), 2);
  assertEquals(runs.endingWithin(20, now + 122), 1, "what is overdue by more than that is not counted");
  assertEquals(runs.nextEndAfter(now + 106), now + 160);
});

Deno.test("runs that differ foretell nothing, until they are alike again", () => {
  const runs = new LaneRuns();
  learn(runs, 40, 100);
  for (const durationMs of [1000, 10, 2000, 5]) runs.end(begun(runs, 0), durationMs, 0);
  begun(runs, 0);
  assertEquals(runs.nextEndAfter(0), null);
  learn(runs, 60, 100);
  assert(runs.nextEndAfter(0) !== null);
});

Deno.test("what never ran gives its lane back and tells nothing of how long runs are", () => {
  const runs = new LaneRuns();
  const now = learn(runs, 40, 100);
  assertEquals(runs.end(begun(runs, now), null, now), true);
  begun(runs, now);
  assertEquals(runs.nextEndAfter(now), now + 100);
});

Deno.test("an end that somebody follows is not there for another, and gives its lane on", () => {
  const runs = new LaneRuns();
  const now = learn(runs, 40, 100);
  const [one, other, follower] = [begun(runs, now), begun(runs, now + 1), newRun()];
  assertEquals(runs.first, one);
  runs.follow(follower, one);
  assertEquals([runs.first, runs.endingWithin(20, now + 90)], [other, 1]);
  assertEquals(runs.end(one, 100, now + 100), false, "its lane is not free");
  assertEquals([follower.before, runs.first], [null, other]);
  assertEquals(runs.end(follower, 100, now + 200), true);
});

Deno.test("what ends while it follows had no lane, and leaves the run before it alone", () => {
  const runs = new LaneRuns();
  const before = begun(runs, 0);
  const follower = newRun();
  runs.follow(follower, before);
  assertEquals([runs.end(follower, 0, 10), before.follower], [false, null]);
  assertEquals(runs.end(before, 100, 100), true);
});

Deno.test("what follows for too long is named once", () => {
  const runs = new LaneRuns();
  const follower = newRun();
  runs.follow(follower, begun(runs, 0));
  assertEquals(runs.oldestFollowing, follower);
  assertEquals([runs.takeFollowingSince(-1), runs.takeFollowingSince(0)], [[], [follower]]);
  assertEquals([runs.takeFollowingSince(0), runs.oldestFollowing], [[], null]);
});

Deno.test("property: whatever begins, follows and ends, lanes are conserved", () => {
  const step = fc.oneof(
    fc.constant("begin" as const),
    fc.constant("follow" as const),
    fc.nat(30).map((index) => ({ end: index })),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 5 }), (steps, lanes) => {
      const runs = new LaneRuns();
      learn(runs, 40, 100);
      const open: Run[] = [];
      let free = lanes;
      steps.forEach((what, now) => {
        if (what === "begin" && free > 0) {
          free -= 1;
          open.push(begun(runs, now));
        } else if (what === "follow" && runs.first !== null) {
          const follower = newRun();
          runs.follow(follower, runs.first);
          open.push(follower);
        } else if (typeof what === "object" && what.end < open.length) {
          const [run] = open.splice(what.end, 1);
          if (run !== undefined && runs.end(run, 100, now)) free += 1;
        }
        assertEquals(open.filter(({ before }) => before === null).length + free, lanes);
        assert(runs.endingWithin(1000, now) <= lanes - free);
      });
    }),
  );
});
