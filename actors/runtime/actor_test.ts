import { assertEquals } from "@std/assert";
import { realScheduler } from "../../infra/scheduler.ts";
import { type ActorContext, type ActorDefinition, type ActorRef, STOP } from "./actor.ts";
import { simulate } from "./simulation.ts";

type Public = { readonly type: "greet"; readonly name: string } | { readonly type: "leave" };
type Private = { readonly type: "tick" };

const greeter: ActorDefinition<number, Public, Private> = {
  kind: "greeter",
  start: () => 0,
  receive(count, message) {
    switch (message.type) {
      case "greet":
        return count + 1;
      case "leave":
        return STOP;
      case "tick":
        return count;
      default:
        return message satisfies never;
    }
  },
};

Deno.test("a message of the wrong type does not compile", async () => {
  const { system } = simulate({ soon: realScheduler });
  const actor = system.spawn("greeter", greeter);
  actor.tell({ type: "greet", name: "Ada" });
  // @ts-expect-error -- no such message
  actor.tell({ type: "greed", name: "Ada" });
  // @ts-expect-error -- a field is missing
  actor.tell({ type: "greet" });
  // @ts-expect-error -- private messages are the actor's own
  actor.tell({ type: "tick" });
  await system.stop(0);
});

Deno.test("a reference may be given on for fewer messages, never for more", () => {
  const widen = (narrow: ActorRef<{ readonly type: "leave" }>): ActorRef<Public> => {
    // @ts-expect-error -- it would be told greetings that it does not take
    return narrow;
  };
  const narrow = (wide: ActorRef<Public>): ActorRef<{ readonly type: "leave" }> => wide;
  const any = (wide: ActorRef<Public>): ActorRef<never> => wide;
  assertEquals([widen.length, narrow.length, any.length], [1, 1, 1]);
});

Deno.test("what an actor sends itself is typed as what it receives", () => {
  const use = (context: ActorContext<Public | Private>, other: ActorRef<Public>) => {
    context.after("tick", 1, { type: "tick" });
    context.self.tell({ type: "tick" });
    // @ts-expect-error -- a message it does not receive
    context.after("tick", 1, { type: "tock" });
    // @ts-expect-error -- as here
    context.run(() => Promise.resolve(1), (outcome) => ({ type: "done", outcome }));
    // @ts-expect-error -- as here
    context.watch(other, () => ({ type: "gone" }));
  };
  assertEquals(use.length, 2);
});

Deno.test("a mailbox that coalesces without a key does not compile", () => {
  const definition: ActorDefinition<number, Public> = {
    kind: "greeter",
    // @ts-expect-error -- coalesceKey is missing
    mailbox: { whenFull: "coalesce" },
    start: () => 0,
    receive: (state) => state,
  };
  assertEquals(definition.kind, "greeter");
});
