/** The contract of `Leases`. */
import type { Leases } from "../../actors/ports/leases.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import { assertEquals } from "@std/assert";

export interface LeasesUnderTest {
  readonly leases: Leases;
  /** Lets time pass for the adapter. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

export type LeasesFactory = (clock: ManualClock) => Promise<LeasesUnderTest>;

export function leasesContract(name: string, factory: LeasesFactory): void {
  const promise = (sentence: string, body: (test: LeasesUnderTest) => Promise<void>) =>
    Deno.test(`${name} leases: ${sentence}`, async () => {
      const test = await factory(new ManualClock());
      try {
        await body(test);
      } finally {
        await test.close();
      }
    });

  promise("one owner holds a name; another name is another lease", async ({ leases }) => {
    assertEquals(await Promise.all(["a", "b", "c"].map((owner) => leases.acquire("lead", owner, 1000))), [
      true,
      false,
      false,
    ]);
    assertEquals(await leases.acquire("lead", "a", 1000), true, "its own again");
    assertEquals(await leases.acquire("other", "b", 1000), true);
    assertEquals([await leases.holder("lead"), await leases.holder("none")], ["a", null]);
  });

  promise("a lease that was not renewed is free after its time", async ({ leases, pass }) => {
    await leases.acquire("lead", "a", 1000);
    await pass(600);
    assertEquals(await leases.renew("lead", "a", 1000), true);
    await pass(600);
    assertEquals(await leases.acquire("lead", "b", 1000), false);
    await pass(600);
    assertEquals(await leases.holder("lead"), null);
    assertEquals(await leases.renew("lead", "a", 1000), false, "too late");
    assertEquals(await leases.acquire("lead", "b", 1000), true);
    assertEquals(await leases.renew("lead", "a", 1000), false, "somebody else's");
  });

  promise("only its owner releases a lease", async ({ leases }) => {
    await leases.acquire("lead", "a", 1000);
    await leases.release("lead", "b");
    assertEquals(await leases.holder("lead"), "a");
    await leases.release("lead", "a");
    await leases.release("lead", "a");
    assertEquals(await leases.acquire("lead", "b", 1000), true);
  });
}
