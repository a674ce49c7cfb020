import { assertEquals, assertRejects } from "@std/assert";
import { Gather } from "./gather.ts";

/** A gather whose batches end when the test says so. */
function gatherOf(options: { readonly most?: number; readonly refuse?: number } = {}) {
  const batches: { readonly calls: readonly number[]; readonly end: () => void }[] = [];
  let arrived = Promise.withResolvers<void>();
  const gather = new Gather<number, number>({
    weigh: () => 1,
    most: options.most ?? 100,
    lanes: 1,
    run: (calls) =>
      new Promise((resolve, reject) => {
        const end = () => {
          if (options.refuse === undefined || !calls.includes(options.refuse)) {
            return resolve(calls.map((call) => call * 10));
          }
          reject(Object.assign(new Error("refused"), { code: "23505" }));
        };
        batches.push({ calls, end });
        arrived.resolve();
      }),
  });
  return {
    gather,
    batches,
    /** Ends batches, one after the other as they begin, until `count` of them have ended. */
    async endBatches(count: number): Promise<void> {
      for (let ended = 0; ended < count; ended += 1) {
        while (batches.length <= ended) {
          arrived = Promise.withResolvers();
          await arrived.promise;
        }
        batches[ended]?.end();
      }
    },
  };
}

Deno.test("calls that come while a batch is under way go together in the next, and get their own answers", async () => {
  const { gather, batches, endBatches } = gatherOf();
  const first = gather.add(1);
  const ended = endBatches(1);
  await ended;
  assertEquals(await first, 10);
  const answers = Promise.all([gather.add(2), gather.add(3), gather.add(4)]);
  await endBatches(2);
  assertEquals(await answers, [20, 30, 40]);
  assertEquals(batches.map((batch) => batch.calls), [[1], [2, 3, 4]]);
});

Deno.test("a batch holds no more than it may", async () => {
  const { gather, batches, endBatches } = gatherOf({ most: 2 });
  const answers = Promise.all([1, 2, 3, 4, 5].map((call) => gather.add(call)));
  await endBatches(3);
  assertEquals(await answers, [10, 20, 30, 40, 50]);
  assertEquals(batches.map((batch) => batch.calls), [[1, 2], [3, 4], [5]]);
});

Deno.test("a call whose row is refused harms none that went with it", async () => {
  const { gather, endBatches } = gatherOf({ refuse: 2 });
  const answers = [1, 2, 3].map((call) => gather.add(call));
  const refused = assertRejects(() => answers[1] ?? Promise.resolve(), Error, "refused");
  await endBatches(4);
  await refused;
  assertEquals(await Promise.all([answers[0], answers[2]]), [10, 30]);
});
