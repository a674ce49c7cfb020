import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DEFAULT_CAPACITY, type Entry, Mailbox, NOTHING } from "./mailbox.ts";

interface Told {
  readonly key: string | null;
  readonly number: number;
}

type Step = { readonly do: "offer"; readonly key: string | null } | {
  readonly do: "push" | "take" | "takePrivate";
};

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant("offer" as const), key: fc.constantFrom("a", "b", null) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("push" as const, "take" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("takePrivate" as const) }) },
  ),
  { maxLength: 60 },
);

function sealed(number: number) {
  return { open: () => number, carries: NOTHING, number };
}

function numberIn(entry: Entry): number {
  return (entry.content as { number: number }).number;
}

/** Runs the steps on a mailbox and on a plain array, and compares after each. */
function compareWithModel(capacity: number, coalesces: boolean, list: readonly Step[]): void {
  const mailbox = new Mailbox<Told>(
    coalesces ? { capacity, whenFull: "coalesce", coalesceKey: (message) => message.key } : { capacity },
  );
  let model: { told: boolean; key: string | null; number: number }[] = [];
  list.forEach((step, number) => {
    switch (step.do) {
      case "offer": {
        const key = coalesces ? step.key : null;
        const place = key === null ? -1 : model.findIndex((entry) => entry.told && entry.key === key);
        const answer = mailbox.offer({ key: step.key, number });
        if (place >= 0) {
          assertEquals(answer, "merged");
          model[place] = { told: true, key, number };
        } else if (model.filter((entry) => entry.told).length >= capacity) {
          assertEquals(answer, "full");
        } else {
          assertEquals(answer, "accepted");
          model.push({ told: true, key, number });
        }
        break;
      }
      case "push":
        mailbox.push(sealed(number));
        model.push({ told: false, key: null, number });
        break;
      case "take": {
        const entry = mailbox.take();
        const expected = model.shift();
        assertEquals(entry === null ? undefined : numberIn(entry), expected?.number);
        assertEquals(entry?.told, expected?.told);
        break;
      }
      case "takePrivate":
        assertEquals(
          mailbox.takePrivate().map((entry) => entry.open()),
          model.filter((entry) => !entry.told).map((entry) => entry.number),
        );
        model = model.filter((entry) => entry.told);
    }
    assertEquals(mailbox.waiting, model.length);
  });
  for (const expected of model) {
    const entry = mailbox.take();
    assertEquals(entry === null ? null : numberIn(entry), expected.number);
  }
  assertEquals(mailbox.take(), null);
}

Deno.test("a mailbox gives messages in order of arrival and never holds more told ones than its capacity", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), steps, (capacity, list) => {
    compareWithModel(capacity, false, list);
  }));
});

Deno.test("a coalescing mailbox replaces in place at any fill level and refuses the rest when full", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), steps, (capacity, list) => {
    compareWithModel(capacity, true, list);
  }));
});

Deno.test("a full mailbox still takes private messages", () => {
  const mailbox = new Mailbox<Told>({ capacity: 1 });
  assertEquals(mailbox.offer({ key: null, number: 1 }), "accepted");
  assertEquals(mailbox.offer({ key: null, number: 2 }), "full");
  mailbox.push(sealed(3));
  assertEquals(mailbox.waiting, 2);
});

Deno.test("a mailbox holds 1,024 told messages unless it says otherwise", () => {
  const mailbox = new Mailbox<number>();
  for (let number = 0; number < DEFAULT_CAPACITY; number++) assertEquals(mailbox.offer(number), "accepted");
  assertEquals(mailbox.offer(0), "full");
});

Deno.test("a capacity that is no positive whole number is refused", () => {
  for (const capacity of [0, -1, 1.5, NaN]) assertThrows(() => new Mailbox({ capacity }), RangeError);
});
