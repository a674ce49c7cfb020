import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { ClaimsAhead } from "./claims_ahead.ts";
import { LaneRuns, type Run } from "./lane_runs.ts";

function newRun(leaseFrom: number): Run {
  const running = { cancel: () => {}, recall: () => {} };
  return { leaseFrom, job: null, running, before: null, follower: null };
}

Deno.test("property: after the wait that it names there is something to do, however the averages are rounded", () => {
  const lengths = fc.array(fc.double({ min: 90, max: 110, noNaN: true }), { minLength: 20, maxLength: 40 });
  const moment = fc.double({ min: 1000, max: 1e10, noNaN: true });
  fc.assert(
    fc.property(lengths, moment, fc.double({ min: 0, max: 60, noNaN: true }), (durations, start, later) => {
      let now = 0;
      const runs = new LaneRuns();
      const ahead = new ClaimsAhead(runs, { mono: () => now });
      for (const durationMs of durations) {
        const run = newRun(0);
        runs.begin(run, 0);
        runs.end(run, durationMs, 0);
      }
      const run = newRun(start);
      runs.begin(run, start);
      now = start + later;
      assertEquals(ahead.wanted, 0);
      const { nextIn } = ahead;
      assert(nextIn !== null && now + nextIn > now);
      now += nextIn;
      assertEquals(ahead.wanted, 1);

      const follower = newRun(now);
      runs.follow(follower, run);
      now += later;
      const { staleIn } = ahead;
      assert(staleIn !== null && now + staleIn > now);
      now += staleIn;
      assertEquals(ahead.takeStale(), [follower]);
      assertEquals([ahead.staleIn, ahead.wanted], [null, 0]);
    }),
    { numRuns: 2000 },
  );
});
