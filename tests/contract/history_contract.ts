/** The contract of `History` and `LineStore`. */
import type { LogLine } from "../../actors/domain/message.ts";
import type { OccurrenceFilter } from "../../actors/ports/store.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { COMPLETED, FAILED, promiseOf, type StoreFactory, type StoreWorld } from "./store_fixture.ts";

export function historyContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} history`, factory);

  promise(
    "pages are stable while new occurrences arrive, ties of one millisecond included",
    async (world) => {
      const job = await world.saved();
      const other = await world.saved({ jobType: "SendEmailJob" });
      const expected: string[] = [];
      for (let round = 0; round < 4; round += 1) {
        for (const one of [job, other]) {
          const answer = await world.trigger(one, { count: 6 });
          assert(answer.ok);
          expected.push(...answer.occurrenceIds);
        }
        await world.clock.advance(1);
      }
      const seen = await allPages(world, {}, 7, () => world.trigger(job));
      assertEquals(seen.toSorted(), expected.toSorted());
      assertEquals(new Set(seen).size, seen.length);
      const times = (await world.store.history.occurrences({}, 100, null)).items.map((one) =>
        one.scheduledFor
      );
      assertEquals(times, times.toSorted((a, b) => b - a));
    },
  );

  promise("filters by job, type, status and due time, and combines them", async (world) => {
    const mail = await world.saved({ jobType: "SendEmailJob" });
    const report = await world.saved();
    const done = await world.running(mail);
    await world.record(done, COMPLETED);
    const failed = await world.running(mail);
    await world.record(failed, { ...FAILED, permanent: true });
    await world.clock.advance(100);
    const queued = await world.queued(report);
    const running = await world.running(report);
    const ids = async (filter: OccurrenceFilter) => (await allPages(world, filter, 1)).toSorted();
    const of = (...messages: { readonly occurrenceId: string }[]) =>
      messages.map((one) => one.occurrenceId).toSorted();
    assertEquals(await ids({ jobId: mail.id }), of(done, failed));
    assertEquals(await ids({ jobId: mail.id, statuses: ["Failed"] }), of(failed));
    assertEquals(await ids({ jobType: "SendEmailJob" }), of(done, failed));
    assertEquals(await ids({ statuses: ["Queued", "Running"] }), of(queued, running));
    assertEquals(await ids({ statuses: ["Queued"], jobType: "SendEmailJob" }), []);
    assertEquals(await ids({ from: world.now }), of(queued, running));
    assertEquals(await ids({ to: world.now, statuses: ["Completed", "Queued"] }), of(done));
    assertEquals(await ids({ jobId: world.random.uuid() }), []);
  });

  promise("finds the few that match among many that do not", async (world) => {
    const common = await world.saved();
    const rare = await world.saved({ jobType: "RareJob" });
    const wanted = await world.queued(rare);
    await world.clock.advance(1);
    await world.trigger(common, { count: 3000 });
    assertEquals(await allPages(world, { jobType: "RareJob" }, 5), [wanted.occurrenceId]);
  });

  promise("refuses a key that no page ends with", async (world) => {
    await assertRejects(() => world.store.history.occurrences({}, 10, "elsewhere"), RangeError);
    await assertRejects(() => world.store.jobs.list({}, 10, "elsewhere"), RangeError);
    await assertRejects(() => world.store.lines.read(world.random.uuid(), 10, "elsewhere"), RangeError);
  });

  promise("says who holds a job and how many are on or wait; nobody under Allow", async (world) => {
    const job = await world.saved({ concurrentExecutionPolicy: "Queue" });
    const free = await world.saved();
    const { history } = world.store;
    const nobody = { holder: null, count: 0 };
    assertEquals(await history.holding(job.id), nobody);
    const first = await world.running(job);
    const answer = await world.trigger(job, { count: 2 });
    assert(answer.ok);
    await world.running(free);
    assertEquals(await history.holding(job.id), { holder: first.occurrenceId, count: 3 });
    assertEquals(await history.holding(free.id), nobody);
    assertEquals(await history.holding(world.random.uuid()), nobody);
    assertEquals(await history.holding("no id"), nobody);
    await world.record(first, COMPLETED);
    assertEquals(await history.holding(job.id), { holder: answer.occurrenceIds[0] ?? "", count: 2 });
  });

  promise("counts occurrences by status", async (world) => {
    const job = await world.saved();
    await world.record(await world.running(job), COMPLETED);
    await world.record(await world.running(job), FAILED);
    await world.running(job);
    await world.cancel((await world.queued(job)).occurrenceId);
    assertEquals((await world.store.history.counts()).byStatus, {
      Queued: 1,
      Running: 1,
      Completed: 1,
      Failed: 0,
      Cancelled: 1,
      TimedOut: 0,
      Unknown: 0,
      Skipped: 0,
    });
  });

  promise("answers that it is well", async (world) => {
    await world.store.check(5000);
    assertEquals(typeof world.store.storeId, "string");
  });

  promise("rejects calls after it was closed, and closing twice is fine", async (world) => {
    await world.store.close();
    await world.store.close();
    await assertRejects(() => world.saved());
    await assertRejects(() => world.store.history.counts());
  });
}

export function lineStoreContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} line store`, factory);

  const line = (occurrenceId: string, token: number, sequence: number): LogLine => ({
    occurrenceId,
    scheduledFor: 5,
    token,
    sequence,
    at: 1000 + sequence,
    level: "warn",
    message: `line ${sequence} of ${token} ü😀`,
    fields: '{"a":1}',
  });

  promise(
    "gives lines back in the order of token and sequence, whatever the order they came in",
    async (world) => {
      const id = world.random.uuid();
      const lines = [line(id, 1, 0), line(id, 1, 1), line(id, 1, 2), line(id, 2, 0), line(id, 2, 1)];
      await world.store.lines.append([line(id, 2, 1), line(id, 1, 2), line(world.random.uuid(), 1, 0)]);
      await world.store.lines.append([line(id, 2, 0), line(id, 1, 0), line(id, 1, 1)]);
      const first = await world.store.lines.read(id, 3, null);
      const second = await world.store.lines.read(id, 3, first.next);
      assertEquals([...first.items, ...second.items], lines);
      assertEquals(second.next, null);
    },
  );

  promise("gives the lines of one attempt page by page, and its last ones", async (world) => {
    const id = world.random.uuid();
    const of = (token: number) => [0, 1, 2].map((sequence) => line(id, token, sequence));
    await world.store.lines.append([...of(1), ...of(2), ...of(3)]);
    const first = await world.store.lines.read(id, 2, null, 2);
    const second = await world.store.lines.read(id, 2, first.next, 2);
    assertEquals([...first.items, ...second.items, second.next], [...of(2), null]);
    assertEquals((await world.store.lines.read(id, 10, null, 4)).items, []);
    assertEquals(await world.store.lines.last(id, 2, 2), of(2).slice(1));
    assertEquals(await world.store.lines.last(id, 4, 2), []);
  });

  promise("ignores a line that it has", async (world) => {
    const id = world.random.uuid();
    await world.store.lines.append([line(id, 1, 0), line(id, 1, 0)]);
    await world.store.lines.append([{ ...line(id, 1, 0), message: "changed" }]);
    assertEquals((await world.store.lines.read(id, 10, null)).items, [line(id, 1, 0)]);
  });
}

async function allPages(
  world: StoreWorld,
  filter: OccurrenceFilter,
  limit: number,
  between: () => Promise<unknown> = () => Promise.resolve(),
): Promise<string[]> {
  const ids: string[] = [];
  let after: string | null = null;
  do {
    const page: Awaited<ReturnType<StoreWorld["store"]["history"]["occurrences"]>> = await world.store.history
      .occurrences(filter, limit, after);
    ids.push(...page.items.map((item) => item.id));
    after = page.next;
    await between();
  } while (after !== null);
  return ids;
}
