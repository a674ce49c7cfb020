import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { realScheduler } from "../../infra/scheduler.ts";
import { type ActorDefinition, type ActorRef, STOP } from "./actor.ts";
import { ActorStopped, AskTimeout, MailboxFull } from "./ask.ts";
import type { InspectEvent } from "./inspect.ts";
import { simulate } from "./simulation.ts";
import { createSystem } from "./system.ts";

/** Keeps what it is told; stops at "stop". */
function recorder<M>(seen: M[], capacity = 1024): ActorDefinition<null, M> {
  return {
    kind: "recorder",
    mailbox: { capacity },
    start: () => null,
    receive(state, message) {
      seen.push(message);
      return message === "stop" ? STOP : state;
    },
  };
}

Deno.test("an actor receives what it is told, in order, and not before tell has returned", async () => {
  const { system } = simulate({ soon: realScheduler });
  const seen: number[] = [];
  const actor = system.spawn("recorder", recorder(seen));
  assertEquals([1, 2, 3].map((number) => actor.tell(number)), ["accepted", "accepted", "accepted"]);
  assertEquals(seen, []);
  await system.idle();
  assertEquals(seen, [1, 2, 3]);
  assertEquals([actor.path, system.deadLetters], ["/recorder", 0]);
  await system.stop(0);
});

Deno.test("a full mailbox refuses, keeps what it has, and takes again when there is room", async () => {
  const { system } = simulate({ soon: realScheduler });
  const seen: number[] = [];
  const actor = system.spawn("recorder", recorder(seen, 2));
  assertEquals([1, 2, 3].map((number) => actor.tell(number)), ["accepted", "accepted", "full"]);
  await system.idle();
  assertEquals(actor.tell(4), "accepted");
  await system.idle();
  assertEquals([seen, system.deadLetters], [[1, 2, 4], 0]);
  await system.stop(0);
});

Deno.test("wake-ups merge: one waits, and a full mailbox does not refuse it", async () => {
  const { system } = simulate({ soon: realScheduler });
  const seen: string[] = [];
  const actor = system.spawn<null, string, never>("sleeper", {
    kind: "sleeper",
    mailbox: {
      capacity: 2,
      whenFull: "coalesce",
      coalesceKey: (message) => message.startsWith("wake") ? "wake" : null,
    },
    start: () => null,
    receive(state, message) {
      seen.push(message);
      return state;
    },
  });
  const answers = ["wake 1", "work 1", "wake 2", "work 2", "wake 3"].map((message) => actor.tell(message));
  assertEquals(answers, ["accepted", "accepted", "accepted", "full", "accepted"]);
  await system.idle();
  assertEquals(seen, ["wake 3", "work 1"]);
  await system.stop(0);
});

Deno.test("messages that nobody will receive are counted as dead letters and shown", async () => {
  const letters: unknown[] = [];
  const { system } = simulate({
    soon: realScheduler,
    onInspect: (event) => event.type === "deadLetter" && letters.push([event.path, event.message, event.why]),
  });
  const actor = system.spawn("recorder", recorder<string>([]));
  for (const message of ["stop", "waits"]) actor.tell(message);
  await system.idle();
  assertEquals(actor.tell("late"), "stopped");
  assertEquals(system.deadLetters, 2);
  assertEquals(letters, [["/recorder", "waits", "stopped"], ["/recorder", "late", "stopped"]]);
  await system.stop(0);
});

type Question = { readonly reply: (answer: string) => void; readonly answer: string | null };

const answering: ActorDefinition<null, Question> = {
  kind: "answering",
  mailbox: { capacity: 1 },
  start: () => null,
  receive(state, { reply, answer }) {
    if (answer === "stop") return STOP;
    if (answer !== null) reply(answer);
    if (answer !== null) reply("a second answer");
    return state;
  },
};

Deno.test("ask settles with the first answer and leaves no timer", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const actor = system.spawn("answering", answering);
  const asked = system.ask<Question, string>(actor, (reply) => ({ reply, answer: "yes" }), 100);
  await system.idle();
  assertEquals(await asked, "yes");
  assertEquals(clock.timers, 0);
  await system.stop(0);
});

Deno.test("ask rejects at its deadline, and an answer after it is ignored", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const actor = system.spawn("answering", answering);
  let replyLater: (answer: string) => void = () => {};
  const asked = assertRejects(
    () =>
      system.ask<Question, string>(actor, (reply) => {
        replyLater = reply;
        return { reply, answer: null };
      }, 100),
    AskTimeout,
    "/answering did not answer within 100 ms",
  );
  await clock.advance(100);
  await asked;
  replyLater("late");
  await system.stop(0);
});

Deno.test("ask rejects when the mailbox is full, and when the actor has ended or ends without an answer", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const ask = (answer: string | null) =>
    system.ask<Question, string>(actor, (reply) => ({ reply, answer }), 100);
  const actor = system.spawn("answering", answering);
  const ending = assertRejects(() => ask("stop"), ActorStopped);
  await assertRejects(() => ask(null), MailboxFull);
  await system.idle();
  await ending;
  await assertRejects(() => ask("yes"), ActorStopped);
  assertEquals(clock.timers, 0);
  await system.stop(0);
});

Deno.test("ask rejects with what making the message throws, and takes nothing", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  const actor = system.spawn("answering", answering);
  const make = (): Question => {
    throw new RangeError("no such question");
  };
  await assertRejects(() => system.ask(actor, make, 100), RangeError, "no such question");
  assertEquals(clock.timers, 0);
  await system.stop(0);
});

Deno.test("a name in use among living siblings is refused, and free again when its actor has ended", async () => {
  const { system } = simulate({ soon: realScheduler });
  const first = system.spawn("name", recorder<string>([]));
  assertThrows(() => system.spawn("name", recorder<string>([])), Error, "living child");
  first.tell("stop");
  await system.idle();
  const second = system.spawn("name", recorder<string>([]));
  assertEquals([second.path, second.id > first.id, first.tell("x")], [first.path, true, "stopped"]);
  await system.stop(0);
});

Deno.test("a system that has stopped spawns nothing, and stopping it again is fine", async () => {
  const { system, clock } = simulate({ soon: realScheduler });
  await system.stop(1000);
  await system.stop(0);
  assertThrows(() => system.spawn("late", recorder([])), Error, "the system has stopped");
  assertEquals(clock.timers, 0);
});

Deno.test("the snapshot shows parents before their children with what waits and works", async () => {
  const { system } = simulate({ soon: realScheduler });
  const work = Promise.withResolvers<void>();
  const parent = system.spawn<null, string, never>("parent", {
    kind: "parent",
    start(context) {
      context.spawn("child", recorder([]));
      context.run(() => work.promise, () => "worked" as never);
      return null;
    },
    receive: (state) => state,
  });
  await system.idle();
  parent.tell("one");
  const figures = { state: "running", restarts: 0 };
  assertEquals(system.snapshot(), [
    { path: "/parent", kind: "parent", waiting: 1, working: 1, ...figures },
    { path: "/parent/child", kind: "recorder", waiting: 0, working: 0, ...figures },
  ] as unknown);
  work.resolve();
  await system.idle();
  assertEquals(system.snapshot()[0]?.working, 0);
  await system.stop(0);
  assertEquals(system.snapshot(), []);
});

Deno.test("whoever inspects sees everything in order, and nothing after taking the listener away", async () => {
  const { system } = simulate({ soon: realScheduler });
  const events: InspectEvent[] = [];
  const leave = system.inspect((event) => events.push(event));
  const actor = system.spawn("recorder", recorder<string>([]));
  actor.tell("hello");
  await system.idle();
  leave();
  actor.tell("unseen");
  await system.idle();
  assertEquals(events.map(({ type, path }) => `${path} ${type}`), [
    "/recorder spawned",
    "/recorder started",
    "/recorder received",
  ]);
  await system.stop(0);
});

Deno.test("a busy system lets the event loop have its chances", async () => {
  const system = createSystem({ clock: systemClock, random: systemRandom, scheduler: realScheduler });
  let received = 0;
  const busy = system.spawn<null, "go", never>("busy", {
    kind: "busy",
    start: () => null,
    receive(state, go, context) {
      received++;
      context.self.tell(go);
      return state;
    },
  });
  busy.tell("go");
  // The system is never idle, and yet this timer fires: turns run in batches.
  await new Promise<void>((resolve) => void systemClock.timer(5, resolve));
  assert(received > 256);
  await system.stop(0);
});

Deno.test("actors that are ready take turns: a full mailbox does not hold up another actor", async () => {
  const system = createSystem({ clock: systemClock, random: systemRandom, scheduler: realScheduler });
  const seen: string[] = [];
  const busy = system.spawn("busy", recorder(seen));
  const quiet = system.spawn("quiet", recorder(seen));
  for (let index = 0; index < 100; index++) busy.tell("busy");
  quiet.tell("quiet");
  await system.idle();
  assert(seen.indexOf("quiet") <= 1);
  assertEquals(seen.length, 101);
  await system.stop(0);
});

/** The order in which three actors, told a hundred messages in all, receive them. */
async function historyOf(seed: number): Promise<string> {
  const history: string[] = [];
  const { system, clock, random } = simulate({
    seed,
    soon: realScheduler,
    onInspect: (event) => history.push(`${event.at} ${event.path} ${event.type}`),
  });
  const actors: ActorRef<number>[] = [];
  for (const name of ["a", "b", "c"]) {
    actors.push(system.spawn<null, number, number>(name, {
      kind: "player",
      start: () => null,
      receive(state, left, context) {
        if (left === 0) return state;
        const next = actors[Math.floor(random.next() * actors.length)];
        if (left % 3 === 0) context.run(async () => await left - 1, () => left - 1);
        else if (left % 3 === 1) context.after("next", left, left - 1);
        else next?.tell(left - 1);
        return state;
      },
    }));
  }
  for (const actor of actors) actor.tell(30);
  await clock.advance(1000);
  await system.stop(0);
  return history.join("\n");
}

Deno.test("the same seed gives the same history, another seed another", async () => {
  const history = await historyOf(11);
  assertStringIncludes(history, "/c received");
  assertEquals(await historyOf(11), history);
  assert(await historyOf(12) !== history);
});
