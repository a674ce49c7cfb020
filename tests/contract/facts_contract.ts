/** What every store of single values keeps. */
import { assertEquals } from "@std/assert";
import { type StoreFactory, StoreWorld } from "./store_fixture.ts";

export function factsContract(name: string, factory: StoreFactory): void {
  Deno.test(`${name} facts: a value that nobody wrote is null, and the last one written is read`, () =>
    StoreWorld.within(factory, async ({ store: { facts } }) => {
      const text = '{"at":1,"text":"ü \\u0027 $1"}';
      assertEquals(await facts.read("throughputBaseline"), null);
      await facts.write("throughputBaseline", text);
      assertEquals(await facts.read("throughputBaseline"), text);
      await facts.write("throughputBaseline", "2");
      assertEquals(await facts.read("throughputBaseline"), "2");
      assertEquals(await facts.read("another"), null);
    }));
}
