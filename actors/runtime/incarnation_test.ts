import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { realScheduler } from "../../infra/scheduler.ts";
import { type ActorContext, type ActorDefinition, type ActorEnd, type ActorRef, STOP } from "./actor.ts";
import { simulate } from "./simulation.ts";

/** An actor whose parts a test plugs in; "stop" stops it and "crash" crashes it. */
function pluggable(
  seen: string[],
  onStart: (context: ActorContext<string>) => void,
): ActorDefinition<null, string> {
  return {
    kind: "pluggable",
    start(context) {
      onStart(context);
      return null;
    },
    receive(state, message) {
      seen.push(message);
      if (message === "crash") throw new Error("crash");
      return message === "stop" ? STOP : state;
    },
  };
}

Deno.test("the outcome of work comes back as a message, also when the work throws at once or throws no error", async () => {
  const { system } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  system.spawn(
    "actor",
    pluggable(seen, (context) => {
      const tell = (outcome: { ok: boolean; value?: unknown; error?: Error }) =>
        outcome.ok ? `value ${outcome.value}` : `error ${outcome.error?.message}`;
      context.run(async () => await 7, tell);
      context.run(() => Promise.reject(new Error("rejected")), tell);
      context.run(() => {
        throw new Error("thrown");
      }, tell);
      context.run(() => Promise.reject("text"), tell);
    }),
  );
  await system.idle();
  assertEquals(seen.toSorted(), ["error Thrown: text", "error rejected", "error thrown", "value 7"]);
  await system.stop(0);
});

for (const how of ["stop", "crash"]) {
  Deno.test(`work under way is aborted at a ${how}, and its outcome is a dead letter`, async () => {
    const { system } = simulate({ soon: realScheduler });
    const seen: string[] = [];
    const aborted: unknown[] = [];
    const actor = system.spawn(
      "actor",
      pluggable(seen, (context) =>
        context.run((signal) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              aborted.push((signal.reason as Error).name);
              reject(signal.reason);
            });
          }), () => "settled")),
      { restart: "never" },
    );
    actor.tell(how);
    await system.idle();
    assertEquals([seen, aborted, system.deadLetters], [[how], ["AbortError"], 1]);
    await system.stop(0);
  });
}

Deno.test("an outcome whose message cannot be made crashes the actor, in its turn", async () => {
  const { system } = simulate({ soon: realScheduler });
  const ends: ActorEnd[] = [];
  const seen: string[] = [];
  const actor = system.spawn("actor", {
    ...pluggable(seen, (context) =>
      context.run(() => Promise.resolve(), () => {
        throw new Error("no message");
      })),
    stopped: (_state: null, end: ActorEnd) => void ends.push(end),
  }, { restart: "never" });
  await system.idle();
  assertEquals([ends[0]?.kind, actor.tell("x")], ["crashed", "stopped"]);
  await system.stop(0);
});

Deno.test("told and injected messages and outcomes come in the one order in which they arrived", async () => {
  const { system } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  const contexts: ActorContext<string>[] = [];
  const actor = system.spawn("actor", pluggable(seen, (context) => contexts.push(context)));
  await system.idle();
  const [context] = contexts;
  assert(context !== undefined);
  actor.tell("1 told");
  context.inject("2 injected");
  actor.tell("3 told");
  await Promise.resolve();
  context.inject("4 injected");
  await system.idle();
  assertEquals(seen, ["1 told", "2 injected", "3 told", "4 injected"]);
  await system.stop(0);
});

Deno.test("a context whose run is over takes nothing on: injected messages are dead letters, spawning throws", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  const contexts: ActorContext<string>[] = [];
  const actor = system.spawn("actor", pluggable(seen, (context) => contexts.push(context)));
  actor.tell("crash");
  await system.idle();
  const [dead] = contexts;
  assert(dead !== undefined);
  dead.inject("late");
  dead.after("timer", 1, "late");
  dead.every("timer", 1, "late");
  dead.watch(actor, () => "late");
  dead.run(() => Promise.resolve(), () => "late");
  dead.cancelTimer("timer");
  assertThrows(() => dead.spawn("child", pluggable([], () => {})), Error, "has ended");
  await clock.advance(1000);
  assertEquals([seen, system.deadLetters, contexts.length], [["crash"], 1, 2]);
  await system.stop(0);
});

Deno.test("messages told survive a crash in order, its own private ones and the one that crashed do not", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  let runs = 0;
  const actor = system.spawn(
    "actor",
    pluggable(seen, (context) => {
      if (runs++ === 0) {
        context.self.tell("crash");
        context.inject("private");
        context.after("timer", 0, "timer");
      }
    }),
  );
  actor.tell("first");
  actor.tell("second");
  await clock.advance(1000);
  // They were told before it started, so they were received before "crash"; what is told while it backs off waits.
  assertEquals(seen, ["first", "second", "crash"]);
  for (const message of ["crash", "third", "fourth"]) actor.tell(message);
  await system.idle();
  assertEquals(actor.tell("fifth"), "accepted");
  await clock.advance(1000);
  assertEquals(seen.slice(3), ["crash", "third", "fourth", "fifth"]);
  assertEquals(system.deadLetters, 1);
  await system.stop(0);
});

Deno.test("a watcher hears an end once, after all the actor told it before, and also when it watches too late", async () => {
  const { system } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  const watcher = system.spawn<ActorRef<string>, string>("watcher", {
    kind: "watcher",
    start(context) {
      const child = context.spawn(
        "child",
        pluggable([], (own) => {
          for (const word of ["1", "2", "stop"]) own.self.tell(word);
          for (const word of ["said 1", "said 2"]) context.self.tell(word);
        }),
      );
      context.watch(child, (end) => `end ${end.kind}`);
      return child;
    },
    receive(child, message, context) {
      seen.push(message);
      if (message === "again") context.watch(child, (end) => `ended ${end.kind}`);
      return child;
    },
  });
  await system.idle();
  watcher.tell("again");
  await system.idle();
  assertEquals(seen, ["said 1", "said 2", "end stopped", "again", "ended stopped"]);
  assertEquals(system.deadLetters, 0);
  await system.stop(0);
});

Deno.test("a watcher hears of the last end, not of crashes that are followed by a restart", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const watched: string[] = [];
  const actor = system.spawn("watched", pluggable([], () => {}));
  system.spawn("watcher", pluggable(watched, (context) => context.watch(actor, (end) => `end ${end.kind}`)));
  actor.tell("crash");
  await clock.advance(1000);
  assertEquals(watched, []);
  actor.tell("stop");
  await system.idle();
  assertEquals(watched, ["end stopped"]);
  await system.stop(0);
});

Deno.test("a watch ends with the run that set it: the next run hears only what it watches itself", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  let runs = 0;
  const target = system.spawn("target", pluggable([], () => {}));
  const watcher = system.spawn(
    "watcher",
    pluggable(seen, (context) => {
      if (runs++ === 0) context.watch(target, () => "end");
    }),
  );
  watcher.tell("crash");
  await clock.advance(1000);
  target.tell("stop");
  await system.idle();
  assertEquals([seen, runs, system.deadLetters], [["crash"], 2, 0]);
  await system.stop(0);
});

Deno.test("timers end with the run that set them", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  const actor = system.spawn(
    "actor",
    pluggable(seen, (context) => {
      context.every("beat", 100, "beat");
      context.after("once", 250, "once");
    }),
    { restart: "never" },
  );
  await clock.advance(200);
  actor.tell("stop");
  await clock.advance(1000);
  assertEquals(seen, ["beat", "beat", "stop"]);
  assertEquals(clock.timers, 0);
  await system.stop(0);
});

Deno.test("a timer that has fired is still cancelled when its message was not received yet", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  system.spawn<null, string>("actor", {
    kind: "actor",
    start(context) {
      context.after("first", 10, "first");
      context.after("second", 10, "second");
      return null;
    },
    receive(state, message, context) {
      seen.push(message);
      context.cancelTimer("second");
      return state;
    },
  });
  clock.settleWith(() => Promise.resolve());
  await system.idle();
  await clock.advance(10);
  await system.idle();
  assertEquals(seen, ["first"]);
  assertEquals(system.deadLetters, 0);
  await system.stop(0);
});

Deno.test("only a child can be stopped, and only actors of the kernel can be watched", async () => {
  const { system } = simulate({ soon: realScheduler });
  const messages: string[] = [];
  const stranger = system.spawn("stranger", pluggable([], () => {}));
  system.spawn(
    "actor",
    pluggable([], (context) => {
      for (const act of [() => context.stopChild(stranger), () => context.watch(standIn, () => "")]) {
        messages.push(assertThrows(act).message);
      }
    }),
  );
  const standIn: ActorRef<string> = { id: 0, path: "/stand-in", tell: () => "accepted" };
  await system.idle();
  assertStringIncludes(messages[0] ?? "", "/stranger is no child of /actor");
  assertStringIncludes(messages[1] ?? "", "/stand-in is no actor");
  await system.stop(0);
});
