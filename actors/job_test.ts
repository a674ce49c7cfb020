import { assertEquals, assertMatch } from "@std/assert";
import type { Report } from "./domain/message.ts";
import type { ActorRef } from "./runtime/actor.ts";
import type { HeartbeatMessage } from "./heartbeat.ts";
import { type GrantedAttempt, jobActor } from "./job.ts";
import type { LineBatch } from "./line_batch.ts";
import type { AttemptRequest } from "./ports/pool.ts";
import { simulate } from "./runtime/simulation.ts";
import { realScheduler } from "../infra/scheduler.ts";
import { messageWith } from "../tests/support/messages.ts";
import { KeptLog } from "../tests/support/quiet.ts";

const WITHOUT = messageWith({ jobData: null, jobDataBytes: 200_000 });

const GRANT: GrantedAttempt = {
  delivery: { message: WITHOUT, ack: () => {}, requeue: () => {} },
  token: 1,
  attempt: 1,
  jobData: "{}",
  leaseFrom: 0,
  startBefore: 10_000,
  unwanted: null,
  after: null,
  onRunning: () => {},
  timeoutMs: null,
  onLaneFree: () => {},
};

/** An attempt in a worker that is told to stop, and when it was cancelled for it (milliseconds). */
async function stopping({ isFollower }: { isFollower: boolean }): Promise<number | null> {
  const { system, clock } = simulate({ soon: realScheduler });
  let cancelledAt: number | null = null;
  const running = { cancel: () => void (cancelledAt ??= clock.mono()), recall: () => {} };
  const job = system.spawn(
    "job",
    jobActor({
      pool: {
        run: (_, listener, after) => {
          if (after === null) listener.started(clock.now());
          return running;
        },
      },
      reports: { sendReports: () => Promise.resolve(), sendProgress: () => {}, sendSignal: () => {} },
      lines: {} as LineBatch,
      clock,
      log: new KeptLog(),
      meter: { count: () => {}, observe: () => {} } as never,
      heartbeat: { path: "/heartbeat", tell: () => "accepted" } as unknown as ActorRef<HeartbeatMessage>,
      workerId: "pool",
      instanceId: "worker-1",
      drainMs: 5000,
    }, { ...GRANT, after: isFollower ? running : null }),
  );
  await system.idle();
  await clock.advance(100);
  job.tell({ type: "workerStops" });
  await clock.advance(10_000);
  return cancelledAt;
}

Deno.test("when its worker stops, what runs may go on for a while, and what waits for a lane goes back at once", async () => {
  assertEquals(await stopping({ isFollower: false }), 5100);
  assertEquals(await stopping({ isFollower: true }), 100);
});

/** Starts an attempt that was granted with this job data, and gives what came of it. */
async function started(jobData: string | null) {
  const { system, clock } = simulate({ soon: realScheduler });
  const runs: AttemptRequest[] = [];
  const reports: Report[] = [];
  const log = new KeptLog();
  let acknowledged = 0;
  const lanesFree: (number | null)[] = [];
  const nobody = { path: "/heartbeat", tell: () => "accepted" } as unknown as ActorRef<HeartbeatMessage>;
  system.spawn(
    "job",
    jobActor({
      pool: {
        run: (request, listener) => {
          runs.push(request);
          listener.ended({ kind: "completed", result: null }, 5);
          return { cancel: () => {}, recall: () => {} };
        },
      },
      reports: {
        sendReports: (some) => Promise.resolve(void reports.push(...some)),
        sendProgress: () => {},
        sendSignal: () => {},
      },
      lines: {} as LineBatch,
      clock,
      log,
      meter: { count: () => {}, observe: () => {} } as never,
      heartbeat: nobody,
      workerId: "pool",
      instanceId: "worker-1",
      drainMs: 0,
    }, {
      ...GRANT,
      delivery: { message: WITHOUT, ack: () => acknowledged += 1, requeue: () => {} },
      jobData,
      onLaneFree: (durationMs) => void lanesFree.push(durationMs),
    }),
  );
  await system.idle();
  return { runs, reports, acknowledged, lanesFree, said: log.lines.map(({ message }) => message) };
}

Deno.test("a job whose message came without its data runs on what the claim brought", async () => {
  const { runs, reports, acknowledged, lanesFree } = await started('{"large":true}');
  assertEquals(runs.map(({ jobData }) => jobData), ['{"large":true}']);
  assertEquals(reports.map(({ outcome }) => outcome.kind), ["completed"]);
  assertEquals([acknowledged, lanesFree], [1, [5]]);
});

Deno.test("a grant without the data that its message has not is handed back, uncounted, and nothing runs", async () => {
  const { runs, reports, acknowledged, lanesFree, said } = await started(null);
  assertEquals(runs, []);
  assertEquals(reports.map(({ outcome }) => outcome), [{ kind: "handedBack", why: "lease-lost" }]);
  assertEquals([acknowledged, lanesFree], [1, [null]], "which tells nothing of how long runs are");
  assertMatch(said.join(), /an API instance of an older version answered the claim/);
});
