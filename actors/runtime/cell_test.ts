import { assert, assertEquals, assertStrictEquals, assertStringIncludes } from "@std/assert";
import { realScheduler } from "../../infra/scheduler.ts";
import { type ActorDefinition, type ActorEnd, type ActorRef, type RestartRule, STOP } from "./actor.ts";
import { simulate } from "./simulation.ts";
import { DEFAULT_SUPERVISION, type Supervision } from "./supervision.ts";

interface Plan {
  readonly children?: { readonly [name: string]: Plan };
  readonly restart?: RestartRule;
  readonly supervision?: Supervision;
  /** Asked to stop, it goes on until it is told "done". */
  readonly drains?: boolean;
  readonly cannotStart?: boolean;
}

/** A tree of actors that writes its story into one list: `a starts`, `a/b is asked`, `a/b ends in order` … */
class Tree {
  story: string[] = [];
  readonly refs = new Map<string, ActorRef<string>>();

  tell(name: string, message: string): void {
    this.refs.get(name)?.tell(message);
  }

  /** What happened since it was last asked. */
  next(): string[] {
    return this.story.splice(0);
  }

  definition(plan: Plan): ActorDefinition<string, string> {
    return {
      kind: "node",
      supervision: plan.supervision ?? DEFAULT_SUPERVISION,
      start: (context) => {
        const name = context.path.slice(1);
        this.refs.set(name, context.self);
        if (plan.cannotStart) throw new Error(`${name} cannot start`);
        this.story.push(`${name} starts`);
        for (const [child, childPlan] of Object.entries(plan.children ?? {})) {
          context.spawn(child, this.definition(childPlan), { restart: childPlan.restart ?? "on-crash" });
        }
        return name;
      },
      receive: (name, message) => {
        if (message === "crash") throw new Error(`crash of ${name}`);
        if (message === "stop" || message === "done") return STOP;
        this.story.push(`${name} hears ${message}`);
        return name;
      },
      stopping: (name) => {
        this.story.push(`${name} is asked`);
        return plan.drains ? name : STOP;
      },
      stopped: (name, end) => {
        this.story.push(`${name} ${wordFor(end)}`);
      },
    };
  }
}

function wordFor(end: ActorEnd): string {
  if (end.kind === "crashed") return "crashes";
  return end.orderly ? "ends in order" : "is cut off";
}

/** A system with one tree in it, started. */
async function planted(plan: Plan, supervision?: Supervision) {
  const simulation = simulate({ soon: realScheduler, ...(supervision === undefined ? {} : { supervision }) });
  const tree = new Tree();
  const top = simulation.system.spawn("a", tree.definition(plan), { restart: plan.restart ?? "on-crash" });
  await simulation.system.idle();
  tree.next();
  return { ...simulation, tree, top };
}

const quick: Supervision = {
  strategy: "one-for-one",
  maxRestarts: 2,
  withinMs: 10_000,
  backoff: { firstMs: 100, maxMs: 1000 },
};

Deno.test("a stop asks from the top, and ends the youngest child first, each fully before the next is asked", async () => {
  const { system, tree } = await planted({ children: { b: { children: { x: {}, y: {} } }, c: {} } });
  await system.stop(1000);
  assertEquals(tree.next(), [
    "a is asked",
    "a/c is asked",
    "a/c ends in order",
    "a/b is asked",
    "a/b/y is asked",
    "a/b/y ends in order",
    "a/b/x is asked",
    "a/b/x ends in order",
    "a/b ends in order",
    "a ends in order",
  ]);
});

Deno.test("an actor that drains goes on receiving, and its elders wait for it and go on working", async () => {
  const { system, tree } = await planted({ children: { elder: {}, drainer: { drains: true } } });
  const stopped = system.stop(1000);
  await system.idle();
  assertEquals(tree.next(), ["a is asked", "a/drainer is asked"]);
  tree.tell("a/drainer", "work");
  tree.tell("a/elder", "work");
  await system.idle();
  assertEquals(tree.next().toSorted(), ["a/drainer hears work", "a/elder hears work"]);
  tree.tell("a/drainer", "done");
  await stopped;
  assertEquals(tree.next(), [
    "a/drainer ends in order",
    "a/elder is asked",
    "a/elder ends in order",
    "a ends in order",
  ]);
});

Deno.test("the grace is one budget for all: when it is over, what is left is cut off, children first", async () => {
  const { system, tree, clock } = await planted({ children: { b: { drains: true }, c: { drains: true } } });
  let over = false;
  const stopped = system.stop(1000).then(() => over = true);
  await clock.advance(600);
  tree.tell("a/c", "done");
  await clock.advance(399);
  assertEquals(over, false);
  tree.next();
  await clock.advance(1);
  await stopped;
  assertEquals(tree.next(), ["a/b is cut off", "a is cut off"]);
  assertEquals(clock.timers, 0);
});

Deno.test("a second stop may shorten the grace and cannot lengthen it", async () => {
  const { system, tree, clock } = await planted({ drains: true });
  const first = system.stop(5000);
  const longer = system.stop(60_000);
  await system.idle();
  const shorter = system.stop(0);
  await Promise.all([first, longer, shorter]);
  assertEquals(tree.next(), ["a is asked", "a is cut off"]);
  assertEquals([clock.mono(), clock.timers], [0, 0]);
});

Deno.test("a stop overtakes what waits, and what waited is dead letters", async () => {
  const { system } = simulate({ soon: realScheduler });
  const tree = new Tree();
  const parent = system.spawn<ActorRef<string>, "tell and stop">("a", {
    kind: "parent",
    start: (context) => context.spawn("b", tree.definition({})),
    receive(child, _message, context) {
      child.tell("one");
      child.tell("two");
      context.stopChild(child);
      return child;
    },
  });
  await system.idle();
  parent.tell("tell and stop");
  await system.idle();
  assertEquals(tree.next(), ["a/b starts", "a/b is asked", "a/b ends in order"]);
  assertEquals(system.deadLetters, 2);
  await system.stop(0);
});

Deno.test("an actor stopped before it started never starts", async () => {
  const { system } = simulate({ soon: realScheduler });
  const tree = new Tree();
  system.spawn("a", tree.definition({}));
  await system.stop(1000);
  assertEquals(tree.next(), []);
});

Deno.test("an actor that ends by itself stops its children first, the youngest first", async () => {
  const { system, tree, top } = await planted({ children: { b: {}, c: {} } });
  top.tell("stop");
  await system.idle();
  assertEquals(tree.next(), [
    "a/c is asked",
    "a/c ends in order",
    "a/b is asked",
    "a/b ends in order",
    "a ends in order",
  ]);
  await system.stop(0);
});

Deno.test("a crash ends the children, then the actor, and after its back-off it starts with fresh state", async () => {
  const { system, tree, top, clock } = await planted({ children: { b: {}, c: {} } });
  top.tell("crash");
  await system.idle();
  assertEquals(tree.next(), ["a/c is cut off", "a/b is cut off", "a crashes"]);
  assertEquals(system.snapshot().map(({ path, state }) => [path, state]), [["/a", "backing-off"]]);
  await clock.advance(49);
  assertEquals(tree.next(), []);
  await clock.advance(51);
  assertEquals(tree.next().toSorted(), ["a starts", "a/b starts", "a/c starts"]);
  assertEquals(system.snapshot()[0]?.restarts, 1);
  await system.stop(0);
});

Deno.test("one-for-one restarts the child that crashed and leaves its siblings alone", async () => {
  const { system, tree, clock } = await planted({ children: { b: {}, c: {}, d: {} } });
  tree.tell("a/c", "crash");
  await clock.advance(1000);
  assertEquals(tree.next(), ["a/c crashes", "a/c starts"]);
  await system.stop(0);
});

Deno.test("all-for-one ends the siblings, the youngest first, and brings all back together", async () => {
  const supervision: Supervision = { ...quick, strategy: "all-for-one" };
  const { system, tree, clock } = await planted({
    supervision,
    children: { b: {}, c: {}, d: {}, once: { restart: "never" } },
  });
  tree.tell("a/c", "crash");
  await system.idle();
  assertEquals(tree.next(), ["a/c crashes", "a/once is cut off", "a/d is cut off", "a/b is cut off"]);
  for (const name of ["a/b", "a/c", "a/d"]) tree.tell(name, "work");
  await clock.advance(100);
  assertEquals(tree.next().toSorted(), [
    "a/b hears work",
    "a/b starts",
    "a/c hears work",
    "a/c starts",
    "a/d hears work",
    "a/d starts",
  ]);
  await system.stop(0);
});

Deno.test("all-for-one leaves alone a sibling that is on its way out", async () => {
  const supervision: Supervision = { ...quick, strategy: "all-for-one" };
  const { system, tree, clock } = await planted({
    supervision,
    children: { b: {}, drainer: { drains: true } },
  });
  const stopped = system.stop(10_000);
  await system.idle();
  tree.tell("a/b", "crash");
  await clock.advance(1000);
  tree.tell("a/drainer", "work");
  tree.tell("a/drainer", "done");
  await stopped;
  assertEquals(tree.next(), [
    "a is asked",
    "a/drainer is asked",
    "a/b crashes",
    "a/b starts",
    "a/drainer hears work",
    "a/drainer ends in order",
    "a/b is asked",
    "a/b ends in order",
    "a ends in order",
  ]);
});

Deno.test("all-for-one counts the restarts of all children together", async () => {
  const supervision: Supervision = { ...quick, strategy: "all-for-one" };
  const { system, tree, clock } = await planted({
    restart: "never",
    supervision,
    children: { b: {}, c: {} },
  });
  for (const name of ["a/b", "a/c", "a/b"]) {
    tree.tell(name, "crash");
    await clock.advance(1000);
  }
  assertEquals(tree.next().slice(-2), ["a/c is cut off", "a crashes"]);
  await system.stop(0);
});

Deno.test("a child over its budget takes its parent down, with the last crash as cause", async () => {
  const crashes: unknown[] = [];
  const { system, tree, clock } = await planted({ supervision: quick, children: { b: {}, c: {} } });
  system.inspect((event) => event.type === "crashed" && event.path === "/a" && crashes.push(event.error));
  for (let crash = 0; crash < 3; crash++) {
    tree.tell("a/b", "crash");
    await clock.advance(crash < 2 ? 1000 : 0);
  }
  assertEquals(tree.next().slice(-3), ["a/b crashes", "a/c is cut off", "a crashes"]);
  const [error] = crashes;
  assert(error instanceof Error && error.cause instanceof Error);
  assertEquals(error.message, "/a/b crashed again after 2 restarts within 10000 ms");
  assertEquals(error.cause.message, "crash of a/b");
  await clock.advance(1000);
  assertEquals(tree.next().toSorted(), ["a starts", "a/b starts", "a/c starts"]);
  await system.stop(0);
});

Deno.test("crashes that lie further apart than the window never spend the budget", async () => {
  const { system, tree, clock } = await planted({ supervision: quick, children: { b: {} } });
  for (let crash = 0; crash < 10; crash++) {
    tree.tell("a/b", "crash");
    await clock.advance(6000);
  }
  assertEquals(tree.next().filter((line) => line === "a/b starts").length, 10);
  await system.stop(0);
});

Deno.test("a top-level actor over its budget makes the system say so, and ends", async () => {
  const { system, top, clock, tree } = await planted({}, quick);
  for (let crash = 0; crash < 3; crash++) {
    top.tell("crash");
    await clock.advance(1000);
  }
  const { path, error } = await system.failed;
  assertEquals(path, "/a");
  assertStringIncludes(error.message, "/a crashed again after 2 restarts");
  assertEquals([top.tell("x"), system.snapshot(), tree.next().at(-1)], ["stopped", [], "a crashes"]);
  await system.stop(0);
});

Deno.test("an actor that cannot start is restarted like one that crashes, and has no last word", async () => {
  const { system, clock, tree } = await planted({
    children: { b: { cannotStart: true } },
    supervision: quick,
  }, quick);
  await clock.advance(60_000);
  const { error } = await system.failed;
  assertStringIncludes(error.message, "/a crashed again after 2 restarts");
  assertEquals(new Set(tree.next()), new Set(["a crashes", "a starts"]));
  await system.stop(0);
});

Deno.test("the rule of the child decides: never ends for good, always comes back after its own stop", async () => {
  const { system, tree, clock } = await planted({
    children: { once: { restart: "never" }, again: { restart: "always" }, plain: {} },
  });
  tree.tell("a/once", "crash");
  for (const name of ["a/again", "a/plain"]) tree.tell(name, "stop");
  await clock.advance(1000);
  assertEquals(tree.next().toSorted(), [
    "a/again ends in order",
    "a/again starts",
    "a/once crashes",
    "a/plain ends in order",
  ]);
  await system.stop(0);
});

Deno.test("an actor that was asked to stop does not come back, whether it drains, crashes or backs off", async () => {
  const { system, tree, clock } = await planted({
    children: { b: { drains: true, restart: "always" }, c: {} },
  });
  tree.tell("a/c", "crash");
  await system.idle();
  const stopped = system.stop(10_000);
  await system.idle();
  assertEquals(tree.next(), ["a/c crashes", "a is asked", "a/b is asked"]);
  tree.tell("a/b", "crash");
  await stopped;
  assertEquals(tree.next(), ["a/b crashes", "a ends in order"]);
  assertEquals(clock.timers, 0);
});

Deno.test("while a sibling drains, an elder that is still needed is restarted", async () => {
  const { system, tree, clock } = await planted({ children: { elder: {}, drainer: { drains: true } } });
  const stopped = system.stop(10_000);
  await system.idle();
  tree.tell("a/elder", "crash");
  await clock.advance(1000);
  assertEquals(tree.next(), ["a is asked", "a/drainer is asked", "a/elder crashes", "a/elder starts"]);
  tree.tell("a/drainer", "done");
  await stopped;
});

Deno.test("a crash in stopping ends the actor and all that is below it", async () => {
  const { system } = simulate({ soon: realScheduler });
  const tree = new Tree();
  const broken: ActorDefinition<string, string> = {
    ...tree.definition({ children: { b: {} } }),
    stopping() {
      throw new Error("cannot stop");
    },
  };
  system.spawn("a", broken);
  await system.idle();
  tree.next();
  await system.stop(1000);
  assertEquals(tree.next(), ["a/b is cut off", "a crashes"]);
});

Deno.test("a last word that throws is shown and stops nothing", async () => {
  const thrown: unknown[] = [];
  const { system } = simulate({
    soon: realScheduler,
    onInspect: (event) => event.type === "lastWordThrew" && thrown.push(event.error),
  });
  const mistake = new Error("a bug");
  system.spawn<null, never>("a", {
    kind: "rude",
    start: () => null,
    receive: (state) => state,
    stopped() {
      throw mistake;
    },
  });
  await system.idle();
  await system.stop(1000);
  assertStrictEquals(thrown[0], mistake);
});
