/**
 * A program that writes to a store and says what was acknowledged; the durability tests start it and do it harm.
 *
 *   durability_writer.ts write <folder>   runs jobs until it is killed; a line of JSON for each acknowledged step
 *   durability_writer.ts fill <folder>    on a small disk: fills it, frees it, goes on; exit 0 when all is well
 */
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { COMPLETED, StoreWorld } from "./store_fixture.ts";

export interface Acknowledged {
  readonly status: "Queued" | "Running" | "Completed";
  readonly ids: readonly string[];
}

const BATCH = 20;

async function write(folder: string): Promise<void> {
  await StoreWorld.within(() => open(folder), async (world) => {
    const job = await world.saved({ id: systemRandom.uuid() });
    const say = (said: Acknowledged) =>
      Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(said) + "\n"));
    while (true) {
      const answer = await world.trigger(job, {
        at: systemClock.now(),
        items: Array.from({ length: BATCH }, () => ({ occurrenceId: systemRandom.uuid(), jobData: null })),
      });
      assert(answer.ok);
      const ids = answer.occurrenceIds;
      say({ status: "Queued", ids });
      const requests = answer.messages.map((message) => ({ message, workerId: "p", instanceId: "i" }));
      await world.attempts.claim(requests, 15_000);
      say({ status: "Running", ids });
      const reports = answer.messages.map((message) => world.report({ ...message, token: 1 }, COMPLETED));
      await world.store.outcomes.record(reports.slice(0, BATCH / 2), systemClock.now(), 0);
      say({ status: "Completed", ids: ids.slice(0, BATCH / 2) });
    }
  });
}

async function fill(folder: string): Promise<void> {
  await StoreWorld.within(() => open(folder), async (world) => {
    const job = await world.saved();
    const ballast = `${folder}/ballast`;
    Deno.writeFileSync(ballast, new Uint8Array(1024 * 1024));
    const kept: string[] = [];
    const trigger = async () => {
      const answer = await world.trigger(job, {
        items: Array.from({ length: BATCH }, () => ({
          occurrenceId: systemRandom.uuid(),
          jobData: JSON.stringify("x".repeat(2000)),
        })),
      });
      assert(answer.ok);
      kept.push(...answer.occurrenceIds);
    };
    const full = await assertRejects(async () => {
      while (true) await trigger();
    });
    assertStringIncludes(full.message, "full");
    await assertRejects(() => world.store.check(5000));
    assertEquals((await world.store.jobs.get(job.id))?.id, job.id, "what is there can still be read");

    Deno.removeSync(ballast);
    await world.store.check(5000);
    await trigger();
    for (const id of kept) assertEquals(await world.status(id), "Queued");
    assertEquals((await world.store.history.counts()).byStatus.Queued, kept.length, "nothing was half done");
  });
}

async function open(folder: string) {
  const { store, attempts } = await openEmbeddedStore({
    folder,
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  return { store, attempts, close: () => store.close() };
}

if (import.meta.main) {
  const [mode, folder = ""] = Deno.args;
  await (mode === "write" ? write(folder) : fill(folder));
}
