import { assertEquals } from "@std/assert";
import type { Attempts } from "./ports/attempts.ts";
import type { Events } from "./ports/events.ts";
import type { RunningAttempt, WorkerInstance } from "./ports/presence.ts";
import { heartbeatActor, type HeartbeatMessage } from "./heartbeat.ts";
import type { JobActorMessage } from "./job.ts";
import type { JobTypeOffer } from "./domain/job_type.ts";
import type { ActorRef } from "./runtime/actor.ts";
import { simulate } from "./runtime/simulation.ts";
import { offer } from "../tests/support/in_process_pool.ts";
import { KeptLog } from "../tests/support/quiet.ts";
import { realScheduler } from "../infra/scheduler.ts";

const LEASE_MS = 15_000;

/** A heartbeat whose renewals and announcements are kept. */
function world(jobTypes: readonly JobTypeOffer[] = []) {
  const { system, clock } = simulate({ soon: realScheduler });
  clock.settleWith(() => system.idle());
  const renewed: (readonly RunningAttempt[])[] = [];
  const announced: Omit<WorkerInstance, "lastSeenAt">[] = [];
  const toldToJob: JobActorMessage[] = [];
  let heldBack: readonly RunningAttempt[] = [];
  let answers: "kept" | "lost" = "kept";
  const attempts: Pick<Attempts, "renew"> = {
    renew: (asked) => {
      renewed.push(asked);
      return Promise.resolve(
        asked.map(() => answers === "kept" ? { ok: true, cancel: null } as const : { ok: false } as const),
      );
    },
  };
  const events: Pick<Events, "subscribe" | "publish"> = { subscribe: () => () => {}, publish: () => {} };
  const start = () =>
    system.spawn(
      "heartbeat",
      heartbeatActor({
        attempts: attempts as Attempts,
        presence: {
          announce: (instance) => Promise.resolve(void announced.push(instance)),
          leave: () => Promise.resolve(),
          list: () => Promise.resolve([]),
        },
        events: events as Events,
        pool: { jobTypes },
        reports: { heldBack: () => ({ count: heldBack.length, ended: heldBack }) },
        clock,
        log: new KeptLog(),
      }, {
        workerId: "pool",
        instanceId: "instance",
        hostName: "host",
        version: "1",
        maxParallelJobs: 4,
        leaseMs: LEASE_MS,
        intervalMs: 5000,
      }),
    );
  const job: ActorRef<JobActorMessage> = {
    path: "/job",
    tell: (message: JobActorMessage) => {
      toldToJob.push(message);
      return "accepted";
    },
  } as ActorRef<JobActorMessage>;
  return {
    system,
    clock,
    renewed,
    announced,
    toldToJob,
    job,
    start,
    holds: (attempts: readonly RunningAttempt[]) => heldBack = attempts,
    loses: () => answers = "lost",
  };
}

function attempt(token: number): RunningAttempt {
  return { occurrenceId: `o${token}`, scheduledFor: 1000, token };
}

function started(token: number, job: ActorRef<JobActorMessage>): HeartbeatMessage {
  return {
    type: "attemptStarted",
    attempt: { ...attempt(token), jobType: "X" },
    payloadBytes: 2,
    leaseFrom: 0,
    job,
  };
}

Deno.test("heartbeat renews what is held back from its first moment on, and announces it as running, until it has gone", async () => {
  const { system, clock, renewed, announced, start, holds } = world();
  holds([attempt(1), attempt(2)]);
  start();
  await system.idle();
  assertEquals(renewed, [[attempt(1), attempt(2)]]);
  assertEquals([announced.at(-1)?.running, announced.at(-1)?.reportsHeldBack], [[attempt(1), attempt(2)], 2]);
  assertEquals(announced.at(-1)?.jobTypes, [], "no lane is taken by it");
  holds([attempt(2)]);
  await clock.advance(LEASE_MS / 3);
  assertEquals(renewed.at(-1), [attempt(2)]);
  holds([]);
  const before = renewed.length;
  await clock.advance(LEASE_MS);
  assertEquals(renewed.length, before, "nothing is left to renew");
  assertEquals([announced.at(-1)?.running, announced.at(-1)?.reportsHeldBack], [[], 0]);
  await system.stop(0);
});

Deno.test("an attempt that was claimed for the lane of one that is about to end is no second busy lane", async () => {
  const { system, clock, announced, start, job } = world([offer("X", { maxParallelJobs: 1 })]);
  const heartbeat = start();
  heartbeat.tell(started(1, job));
  heartbeat.tell(started(2, job));
  await clock.advance(LEASE_MS);
  assertEquals(announced.at(-1)?.jobTypes.map(({ lanesBusy, lanesFree }) => [lanesBusy, lanesFree]), [[
    1,
    0,
  ]]);
  assertEquals(announced.at(-1)?.running.length, 2);
  await system.stop(0);
});

Deno.test("heartbeat says at once that its worker is stopping, and keeps the leases of what may still end", async () => {
  const { system, clock, renewed, announced, start, job } = world();
  const heartbeat = start();
  await system.idle();
  heartbeat.tell(started(1, job));
  heartbeat.tell({ type: "workerStops" });
  await system.idle();
  assertEquals(announced.map(({ isStopping }) => isStopping), [false, true]);
  await clock.advance(LEASE_MS);
  assertEquals([renewed.at(-1), announced.at(-1)?.isStopping], [[attempt(1)], true]);
  await system.stop(0);
});

Deno.test("heartbeat names an attempt once while its report is written and its actor still there", async () => {
  const { system, clock, renewed, start, holds, job } = world();
  const heartbeat = start();
  heartbeat.tell(started(1, job));
  heartbeat.tell(started(2, job));
  await system.idle();
  holds([attempt(1)]);
  await clock.advance(LEASE_MS / 3);
  assertEquals(renewed.at(-1), [attempt(1), attempt(2)]);
  heartbeat.tell({ type: "attemptEnded", attempt: { ...attempt(1), jobType: "X" } });
  await clock.advance(LEASE_MS / 3);
  assertEquals(renewed.at(-1), [attempt(2), attempt(1)]);
  await system.stop(0);
});

Deno.test("heartbeat ends a run whose lease was lost, and goes on with what is held back", async () => {
  const { system, clock, renewed, toldToJob, start, holds, loses, job } = world();
  holds([attempt(1)]);
  start().tell(started(2, job));
  await system.idle();
  loses();
  await clock.advance(LEASE_MS / 3);
  assertEquals(toldToJob, [{ type: "leaseLost" }], "the run's actor alone is told");
  await clock.advance(LEASE_MS / 3);
  assertEquals(renewed.at(-1)?.length, 2);
  await system.stop(0);
});
