/** The contract of `DueIndex`. */
import type { DueIndex } from "../../actors/ports/due_index.ts";
import { assertEquals } from "@std/assert";
import fc from "fast-check";

export type DueIndexFactory = () => Promise<{ readonly index: DueIndex; close(): Promise<void> }>;

export function dueIndexContract(name: string, factory: DueIndexFactory): void {
  const within = async (body: (index: DueIndex) => Promise<void>) => {
    const { index, close } = await factory();
    try {
      await body(index);
    } finally {
      await close();
    }
  };
  const promise = (sentence: string, body: (index: DueIndex) => Promise<void>) =>
    Deno.test(`${name} due index: ${sentence}`, () => within(body));

  promise("gives what is due, earliest first, and keeps it until it is put or removed", async (index) => {
    await index.put([{ jobId: "c", dueAt: 30 }, { jobId: "a", dueAt: 10 }, { jobId: "b", dueAt: 20 }]);
    const due = [{ jobId: "a", dueAt: 10 }, { jobId: "b", dueAt: 20 }];
    assertEquals(await index.due(20, 10), due);
    assertEquals(await index.due(20, 10), due);
    assertEquals(await index.due(20, 1), due.slice(0, 1));
    assertEquals(await index.nextAt(), 10);
    await index.put([{ jobId: "a", dueAt: 40 }]);
    await index.remove(["b", "unknown"]);
    assertEquals([await index.nextAt(), await index.size()], [30, 2]);
    await index.clear();
    assertEquals([await index.nextAt(), await index.size(), await index.due(99, 9)], [null, 0, []]);
  });

  promise("remembers who built it, until it is emptied", async (index) => {
    assertEquals(await index.builtBy(), null);
    await index.put([{ jobId: "a", dueAt: 10 }]);
    await index.markBuilt("epoch 1");
    assertEquals(await index.builtBy(), "epoch 1");
    await index.markBuilt("epoch 2");
    assertEquals(await index.builtBy(), "epoch 2");
    await index.clear();
    assertEquals(await index.builtBy(), null);
  });

  promise("gives a job once, however often it moved, there and back included", async (index) => {
    for (const dueAt of [10, 20, 10, 20, 10]) await index.put([{ jobId: "a", dueAt }]);
    assertEquals(await index.due(100, 10), [{ jobId: "a", dueAt: 10 }]);
  });

  Deno.test(`${name} due index: behaves as a sorted list under any commands`, async () => {
    const jobId = fc.constantFrom("a", "b", "c", "d", "e", "f");
    const command = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constant("put" as const), jobId, dueAt: fc.nat(50) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), jobId }) },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant("due" as const), now: fc.nat(50), limit: fc.nat(4) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60 }), (commands) =>
        within(async (index) => {
          const model = new Map<string, number>();
          const sorted = () =>
            [...model].map(([id, dueAt]) => ({ jobId: id, dueAt })).sort((a, b) => a.dueAt - b.dueAt);
          for (const one of commands) {
            if (one.do === "put") {
              model.set(one.jobId, one.dueAt);
              await index.put([{ jobId: one.jobId, dueAt: one.dueAt }]);
            } else if (one.do === "remove") {
              model.delete(one.jobId);
              await index.remove([one.jobId]);
            } else {
              const due = await index.due(one.now, one.limit);
              const expected = sorted().filter((entry) => entry.dueAt <= one.now);
              assertEquals(
                due.map((entry) => entry.dueAt),
                expected.slice(0, one.limit).map((entry) => entry.dueAt),
              );
              assertEquals(new Set(due.map((entry) => entry.jobId)).size, due.length);
              for (const entry of due) assertEquals(model.get(entry.jobId), entry.dueAt);
            }
            assertEquals([await index.nextAt(), await index.size()], [
              sorted()[0]?.dueAt ?? null,
              model.size,
            ]);
          }
        })),
      { numRuns: 60 },
    );
  });
}
