/** The contract of `Presence`. */
import type { Presence, WorkerInstance } from "../../actors/ports/presence.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { assertEquals } from "@std/assert";

export interface PresenceUnderTest {
  readonly presence: Presence;
  /** Lets time pass for the adapter. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** Opens an empty presence whose announcements hold for `lifetimeMs`. */
export type PresenceFactory = (clock: ManualClock, lifetimeMs: number) => Promise<PresenceUnderTest>;

const LIFETIME_MS = 3000;

export function presenceContract(name: string, factory: PresenceFactory): void {
  const promise = (sentence: string, body: (test: PresenceUnderTest, clock: ManualClock) => Promise<void>) =>
    Deno.test(`${name} presence: ${sentence}`, async () => {
      const clock = new ManualClock();
      const test = await factory(clock, LIFETIME_MS);
      try {
        await body(test, clock);
      } finally {
        await test.close();
      }
    });

  promise(
    "lists who announced itself, with its last word, in the order of ids",
    async ({ presence }, clock) => {
      await presence.announce(instance("b"));
      await presence.announce(instance("a"));
      const running = [{ occurrenceId: "o", scheduledFor: 5, token: 1 }];
      await presence.announce({ ...instance("b"), running });
      // It runs nothing, and is not idle: it holds reports back.
      await presence.announce({ ...instance("a"), reportsHeldBack: 3 });
      assertEquals(await presence.list(), [
        { ...instance("a"), reportsHeldBack: 3, lastSeenAt: clock.now() },
        { ...instance("b"), running, lastSeenAt: clock.now() },
      ]);
    },
  );

  promise(
    "tells what a worker takes while it runs something, and of an idle one only when it is much",
    async ({ presence }) => {
      const load = {
        rssBytes: 300 * 1024,
        memoryLimitBytes: 1024 * 1024,
        eventLoopDelayMs: 12,
        cpu: { used: 0.94, processors: 2, machineShare: 1 },
        largestPayload: { jobType: "SampleJob", bytes: 700 },
      };
      const much = { ...load, rssBytes: 900 * 1024, cpu: null, largestPayload: null };
      const computing = {
        ...load,
        cpu: { used: 1.2, processors: 2, machineShare: null },
        largestPayload: null,
      };
      const running = [{ occurrenceId: "o", scheduledFor: 5, token: 1 }];
      await presence.announce({ ...instance("busy"), running, load });
      await presence.announce({ ...instance("idle and large"), load: much });
      await presence.announce({ ...instance("idle, but computing"), load: computing });
      const loads = (await presence.list()).map((one) => [one.instanceId, one.load]);
      assertEquals(loads, [["busy", load], ["idle and large", much], ["idle, but computing", computing]]);
    },
  );

  promise("forgets who left, and who was silent for its lifetime", async ({ presence, pass }) => {
    await presence.announce(instance("a"));
    await presence.announce(instance("b"));
    await presence.leave("a");
    await presence.leave("unknown");
    const present = async () => (await presence.list()).map((one) => one.instanceId);
    assertEquals(await present(), ["b"]);
    await pass(LIFETIME_MS - 1);
    assertEquals(await present(), ["b"]);
    await pass(2);
    assertEquals(await present(), []);
  });
}

function instance(instanceId: string): Omit<WorkerInstance, "lastSeenAt"> {
  return {
    workerId: "pool",
    instanceId,
    hostName: "host",
    version: "1",
    startedAt: 1,
    maxParallelJobs: 4,
    jobTypes: [],
    running: [],
    reportsHeldBack: 0,
    load: null,
    isStopping: false,
  };
}
