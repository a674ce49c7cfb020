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
      assertEquals(await presence.list(), [
        { ...instance("a"), lastSeenAt: clock.now() },
        { ...instance("b"), running, lastSeenAt: clock.now() },
      ]);
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
    isStopping: false,
  };
}
