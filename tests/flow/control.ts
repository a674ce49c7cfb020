/**
 * What people and clocks do to a schedule: downtime and catching up, pauses, skipped due times, run limits. On the
 * real actors and real adapters, with a manual clock; one suite, two grounds.
 */
import { assert, assertEquals } from "@std/assert";
import { type Cancellation, cancellationOf } from "../../actors/domain/cancellation.ts";
import type { Job } from "../../actors/domain/job.ts";
import { completed, offer } from "../support/in_process_pool.ts";
import { FLOW_START, flowAt } from "../support/flow.ts";
import type { Ground } from "../support/ground.ts";
import { seededRandom } from "../../actors/runtime/seeded_random.ts";
import { Node, settle } from "../support/node.ts";
import { until } from "../support/program.ts";
import type { Adapters } from "../../infra/adapters.ts";
import { KeptLog } from "../support/quiet.ts";

const MINUTE = 60_000;

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function controlSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
): void {
  const { promise, withNode } = flowAt({ name, openGround, test });

  promise(
    "after downtime the runs that catch up are marked, spaced, and told of before they start",
    () =>
      withNode({}, async (node, clock, ground) => {
        const job = await node.createJob({
          cronExpression: "0 * * * * *",
          concurrentExecutionPolicy: "Allow",
          misfirePolicy: "FireAll",
          misfireLimit: 4,
          catchUpSpacingSeconds: 3,
        });
        await node.crash();
        await clock.advance(10 * MINUTE);
        const back = clock.now();
        const log = new KeptLog();
        const isPlan = ({ message }: KeptLog["lines"][number]) => message === "Catching up on a job";
        /** Whether the plan was in the log when a run of it was handed to the ledger. */
        const toldBefore: boolean[] = [];
        const replace = (adapters: Adapters): Adapters => {
          const { ledger } = adapters.store;
          const decide: typeof ledger.decide = (epoch, decisions, now) => {
            const catchesUp = decisions.some(({ slots }) =>
              slots.some(({ origin }) => origin === "catch-up")
            );
            if (catchesUp) toldBefore.push(log.lines.some(isPlan));
            return ledger.decide(epoch, decisions, now);
          };
          const watched = new Proxy(ledger, {
            get(target, name) {
              const value = name === "decide" ? decide : Reflect.get(target, name, target);
              return typeof value === "function" ? value.bind(target) : value;
            },
          });
          return { ...adapters, store: { ...adapters.store, ledger: watched } };
        };
        const next = await Node.start({ ground, clock, seed: 2, log, replace });
        await clock.advance(ground.lossNoticedMs);
        const ledBy = clock.now();
        await clock.advance(20_000);
        await settle(next);
        const caughtUp = (await next.occurrences(job.id)).filter((one) => one.origin === "catch-up");
        assertEquals(caughtUp.map((one) => one.status), ["Completed", "Completed", "Completed", "Completed"]);
        const starts = caughtUp.map((one) => one.startedAt ?? 0);
        assert((starts[0] ?? 0) >= back && (starts[0] ?? 0) <= ledBy);
        starts.slice(1).forEach((start, index) => {
          const apart = start - (starts[index] ?? 0);
          assert(apart >= 2900 && apart < 3600, `${apart} ms apart`);
        });
        const [plan] = next.log.lines.filter((one) => one.message === "Catching up on missed due times");
        assertEquals([plan?.fields["jobs"], plan?.fields["runs"], plan?.fields["overSeconds"]], [1, 4, 9]);
        const [told, ...more] = log.lines.filter(isPlan);
        const { dueTimesMissed, runs, from, to, spacingSeconds } = told?.fields ?? {};
        const first = Date.parse(String(from));
        assertEquals([runs, spacingSeconds, more], [4, 3, []]);
        assertEquals(
          (Date.parse(String(to)) - first) / MINUTE + 1,
          dueTimesMissed,
          "it is all that was missed",
        );
        assertEquals(first, FLOW_START - (FLOW_START % MINUTE) + MINUTE);
        assertEquals([...new Set(toldBefore)], [true], "told of before they are written down");
        return next;
      }),
  );

  promise(
    "many jobs that were missed at once do not start at once",
    () =>
      withNode({}, async (node, clock, ground) => {
        const jobs: Job[] = [];
        for (let count = 0; count < 12; count++) {
          jobs.push(await node.createJob({ executeAt: new Date(FLOW_START + MINUTE).toISOString() }));
        }
        await node.crash();
        await clock.advance(10 * MINUTE);
        const catchUp = { spacingMs: 1000, perSecond: 2 };
        const next = await Node.start({ ground, clock, seed: 2, catchUp });
        await clock.advance(30_000);
        await settle(next);
        const starts: number[] = [];
        for (const job of jobs) {
          const [one] = await next.occurrences(job.id);
          assertEquals([one?.status, one?.origin], ["Completed", "catch-up"]);
          starts.push(one?.startedAt ?? 0);
        }
        starts.sort((a, b) => a - b);
        assert((starts.at(-1) ?? 0) - (starts[0] ?? 0) >= 5400, "12 runs at 2 a second take 5.5 s");
        return next;
      }),
  );

  for (const policy of ["Queue", "Skip"] as const) {
    promise(
      `under ${policy} the runs that catch up come before younger ones, one at a time, in order and spaced`,
      () =>
        withNode({}, async (node, clock, ground) => {
          const job = await node.createJob({
            cronExpression: "0 * * * * *",
            concurrentExecutionPolicy: policy,
            misfirePolicy: "FireAll",
            misfireLimit: 3,
            catchUpSpacingSeconds: 2,
          });
          await node.crash();
          await clock.advance(6 * MINUTE);
          const next = await Node.start({ ground, clock, seed: 2 });
          await clock.advance(30_000 + ground.lossNoticedMs);
          await settle(next);
          const ran = next.pool.started.map((one) => one.scheduledFor);
          assertEquals(ran, [...ran].sort((a, b) => a - b));
          const found = (await next.occurrences(job.id)).filter((one) => one.origin === "catch-up");
          assertEquals(found.map((one) => one.status), ["Completed", "Completed", "Completed"]);
          const starts = found.map((one) => one.startedAt ?? 0);
          assert((starts[2] ?? 0) - (starts[0] ?? 0) >= 3900);
          return next;
        }),
    );
  }

  promise(
    "resuming does not fire what came during the pause, even when nobody led meanwhile",
    () =>
      withNode({}, async (node, clock, ground) => {
        const job = await node.createJob({ cronExpression: "0 * * * * *", misfirePolicy: "FireAll" });
        await clock.advance(MINUTE);
        const { jobs } = node.adapters.store;
        await jobs.setPause(job.id, { reason: "stocktaking", by: "ann", since: clock.now(), until: null });
        await node.crash();
        await clock.advance(5 * MINUTE);
        const standing = await ground.open({
          clock,
          random: seededRandom(9, clock),
          log: new KeptLog(),
          instanceId: "api-without-lead",
        });
        await standing.adapters.store.jobs.resume(job.id, clock.now());
        await standing.close();
        const next = await Node.start({ ground, clock, seed: 2 });
        await clock.advance(MINUTE + ground.lossNoticedMs);
        await settle(next);
        const found = await next.occurrences(job.id);
        assertEquals(found.map((one) => one.origin), found.map(() => "schedule"));
        const [range] = await next.adapters.store.history.ranges(job.id, 10);
        assertEquals([range?.reason, range?.by, range?.note, range?.count], [
          "paused",
          "ann",
          "stocktaking",
          5,
        ]);
        return next;
      }),
  );

  promise(
    "a skipped due time is left out alone, and its verdict names who and why",
    () =>
      withNode({}, async (node, clock) => {
        const job = await node.createJob({ cronExpression: "0 * * * * *" });
        const dueAt = job.nextDueAt ?? 0;
        const skipped = { dueAt, reason: "bank holiday", by: "ann", since: clock.now() };
        assert((await node.adapters.store.jobs.skipDueTime(job, skipped)).ok);
        await clock.advance(3 * MINUTE);
        await settle(node);
        const ran = (await node.occurrences(job.id)).map((one) => (one.scheduledFor - dueAt) / MINUTE);
        assertEquals(ran, [1, 2]);
        const range = await node.adapters.store.history.rangeAt(job.id, dueAt);
        assertEquals([range?.reason, range?.by, range?.note], ["skipped-once", "ann", "bank holiday"]);
        assertEquals((await node.adapters.store.jobs.get(job.id))?.skippedDueTime, null);
      }),
  );

  promise(
    "a run is asked to stop, gets its signal, and ends; asking twice is fine, and nothing of it runs again",
    () =>
      withNode({
        behaviour: () => ({ afterMs: 3_600_000, outcome: completed, heedsAfterMs: 4000 }),
      }, async (node, clock) => {
        const [id = ""] = await node.trigger((await node.createJob({})).id) as readonly string[];
        await clock.advance(1000);
        const askedAt = clock.now();
        await cancel(node, id);
        await clock.advance(500);
        await settle(node);
        // Over a broker the word of it is a hint that nobody waits for: it comes when it comes.
        const signalled = await until(async () => {
          const now = await cancellation(node, id);
          return now?.state === "signalled" ? now : undefined;
        }, "the word that the signal was given");
        assertEquals([signalled.instanceId, signalled.requestedAt], [node.instanceId, askedAt]);
        const signalledAt = signalled.signalledAt ?? 0;
        assert(signalledAt >= askedAt && signalledAt <= askedAt + 500);
        await cancel(node, id);
        await clock.advance(10_000);
        await settle(node);
        const ended = await cancellation(node, id);
        assertEquals([ended?.state, ended?.rung, ended?.by, ended?.reason], [
          "ended",
          "signal",
          "ann",
          "enough",
        ]);
        assertEquals(ended?.signalledAt, signalledAt);
        await clock.advance(MINUTE);
        assertEquals(node.pool.started.length, 1);
      }),
  );

  promise(
    "a worker that heard nothing of a cancellation learns it when it renews its lease",
    () =>
      withNode({ behaviour: () => ({ afterMs: 3_600_000, outcome: completed }) }, async (node, clock) => {
        const [id = ""] = await node.trigger((await node.createJob({})).id) as readonly string[];
        await clock.advance(1000);
        const request = { by: "ann", reason: "enough", requestedAt: clock.now() };
        assertEquals((await node.adapters.store.outcomes.cancel(id, request)).ok, true);
        await clock.advance(5500);
        await settle(node);
        const ended = await cancellation(node, id);
        assertEquals([ended?.state, ended?.rung], ["ended", "signal"]);
      }),
  );

  promise(
    "what a worker that stops hands back is not cancelled, unless a person asked for that",
    () =>
      withNode(
        { behaviour: () => ({ afterMs: 3_600_000, outcome: completed }) },
        async (node, clock, ground) => {
          const job = await node.createJob({ concurrentExecutionPolicy: "Allow" });
          const [kept = "", asked = ""] = await node.trigger(job.id, 2) as readonly string[];
          await clock.advance(1000);
          const request = { by: "ann", reason: "enough", requestedAt: clock.now() };
          await node.adapters.store.outcomes.cancel(asked, request);
          await node.stop();
          const next = await Node.start({ ground, clock, seed: 2 });
          await clock.advance(5000 + ground.lossNoticedMs);
          await settle(next);
          const found = new Map((await next.occurrences(job.id)).map((one) => [one.id, one]));
          assertEquals([found.get(kept)?.status, found.get(kept)?.cancel], ["Completed", null]);
          assertEquals([found.get(asked)?.status, found.get(asked)?.cancel?.by], ["Cancelled", "ann"]);
          return next;
        },
      ),
  );

  promise(
    "the time limit of the job comes before that of its type",
    () =>
      withNode({ offers: [offer("SampleJob", { executionTimeoutSeconds: 7 })] }, async (node, clock) => {
        await node.trigger((await node.createJob({ executionTimeoutSeconds: 3 })).id);
        await node.trigger((await node.createJob({})).id);
        await clock.advance(1000);
        await settle(node);
        assertEquals(node.pool.started.map((one) => one.timeoutMs), [3000, 7000]);
      }),
  );

  promise(
    "a run limit ends the schedule; triggers do not count, and a raised limit goes on in the future",
    () =>
      withNode({}, async (node, clock) => {
        const job = await node.createJob({
          cronExpression: "0 * * * * *",
          concurrentExecutionPolicy: "Allow",
          runLimit: 2,
        });
        await node.trigger(job.id);
        await clock.advance(5 * MINUTE);
        await settle(node);
        const ofSchedule = async () =>
          (await node.occurrences(job.id)).filter((one) => one.origin === "schedule").map((one) =>
            Math.floor((one.scheduledFor - FLOW_START) / MINUTE)
          );
        assertEquals(await ofSchedule(), [0, 1]);
        const { jobs } = node.adapters.store;
        const ended = await jobs.get(job.id);
        assertEquals([ended?.nextDueAt, ended?.runCount], [null, 2]);
        assert(node.log.lines.some((one) => one.message.startsWith("Run limit reached")));
        assert(ended !== null);
        const now = clock.now();
        const nextDueAt = Math.ceil(now / MINUTE) * MINUTE;
        const raised = await jobs.update({ ...ended, runLimit: 3, nextDueAt, updatedAt: now }, ended.version);
        assert(raised.ok);
        await node.adapters.dueIndex.put([{ jobId: job.id, dueAt: nextDueAt }]);
        node.adapters.events.publish([{ type: "jobChanged", jobId: job.id, at: now }]);
        await clock.advance(3 * MINUTE);
        await settle(node);
        assertEquals(await ofSchedule(), [0, 1, 5]);
        assertEquals(await node.adapters.store.history.ranges(job.id, 10), []);
      }),
  );
}

/** Asks for the end of an occurrence as the API does. */
async function cancel(node: Node, occurrenceId: string): Promise<void> {
  const at = node.clock.now();
  const request = { by: "ann", reason: "enough", requestedAt: at };
  const answer = await node.adapters.store.outcomes.cancel(occurrenceId, request);
  assert(answer.ok);
  if (answer.state !== "requested") return;
  const { token } = answer;
  node.adapters.events.publish([{
    type: "cancelRequested",
    occurrenceId,
    token,
    reason: request.reason,
    at,
  }]);
}

async function cancellation(node: Node, occurrenceId: string): Promise<Cancellation | null> {
  const detail = await node.adapters.store.history.occurrence(occurrenceId);
  return detail === null ? null : cancellationOf(detail.occurrence);
}
