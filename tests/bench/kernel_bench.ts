/**
 * What the actor kernel costs: messages a second between actors, and job-like actors a second that are spawned,
 * receive one message, stop and are watched. Prints medians of five. Run it with
 * `deno run tests/bench/kernel_bench.ts`.
 */
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { realScheduler } from "../../infra/scheduler.ts";
import { type ActorDefinition, type ActorRef, STOP } from "../../actors/runtime/actor.ts";
import { type ActorSystem, createSystem } from "../../actors/runtime/system.ts";

const MESSAGES = 1_000_000;
const SPAWNS = 200_000;
const ROUNDS = 5;

/** Two actors pass one ball: the cost of a turn. */
function pingPong(system: ActorSystem): Promise<number> {
  const done = Promise.withResolvers<number>();
  type Ball = { readonly left: number; readonly from: ActorRef<Ball> };
  const player: ActorDefinition<null, Ball, never> = {
    kind: "player",
    start: () => null,
    receive(state, ball, context) {
      if (ball.left > 0) ball.from.tell({ left: ball.left - 1, from: context.self });
      else done.resolve(MESSAGES);
      return state;
    },
  };
  const first = system.spawn("first", player);
  const second = system.spawn("second", player);
  first.tell({ left: MESSAGES, from: second });
  return done.promise;
}

/** One actor tells another in bursts of 500: the cost of a full mailbox. */
function burst(system: ActorSystem): Promise<number> {
  const done = Promise.withResolvers<number>();
  const sink = system.spawn<number, { readonly reply: (() => void) | null }, never>("sink", {
    kind: "sink",
    start: () => 0,
    receive(seen, message) {
      message.reply?.();
      if (seen + 1 === MESSAGES) done.resolve(MESSAGES);
      return seen + 1;
    },
  });
  system.spawn<null, "go", never>("source", {
    kind: "source",
    start(context) {
      context.self.tell("go");
      return null;
    },
    receive(state, _go, context) {
      for (let index = 1; index < 500; index++) sink.tell({ reply: null });
      sink.tell({ reply: () => void context.self.tell("go") });
      return state;
    },
  });
  return done.promise;
}

/** A thousand actors in a ring, each passing its own ball on: the cost of many that are ready. */
function ring(system: ActorSystem): Promise<number> {
  const done = Promise.withResolvers<number>();
  const actors: ActorRef<number>[] = [];
  let total = 0;
  for (let index = 0; index < 1000; index++) {
    actors.push(system.spawn<null, number, never>(`ring-${index}`, {
      kind: "ring",
      start: () => null,
      receive(state, left) {
        if (left > 0) actors[(index + 1) % 1000]?.tell(left - 1);
        if (++total === MESSAGES) done.resolve(MESSAGES);
        return state;
      },
    }));
  }
  for (const actor of actors) actor.tell(MESSAGES / 1000);
  return done.promise;
}

/** Actors that live for one message, a hundred at a time, watched or not. */
function spawnStop(system: ActorSystem, watched: boolean): Promise<number> {
  const done = Promise.withResolvers<number>();
  const leaf: ActorDefinition<null, "go", never> = {
    kind: "leaf",
    start: () => null,
    receive: () => STOP,
  };
  type Message = "next" | "ended";
  system.spawn<number, never, Message>("parent", {
    kind: "parent",
    start(context) {
      context.inject("next");
      return 0;
    },
    receive(count, message, context) {
      if (message === "ended") return count;
      for (let index = 0; index < 100; index++) {
        const child = context.spawn(`leaf-${count + index}`, leaf, { restart: "never" });
        if (watched) context.watch(child, () => "ended");
        child.tell("go");
      }
      if (count + 100 === SPAWNS) done.resolve(SPAWNS);
      else context.self.tell("next");
      return count + 100;
    },
  });
  return done.promise;
}

/** Actors that live for one piece of work, as job actors do. */
function spawnWork(system: ActorSystem): Promise<number> {
  const done = Promise.withResolvers<number>();
  const worker: ActorDefinition<null, never, "worked"> = {
    kind: "worker",
    start(context) {
      context.run(() => Promise.resolve(), () => "worked");
      return null;
    },
    receive: () => STOP,
  };
  system.spawn<number, never, "ended">("parent", {
    kind: "parent",
    start(context) {
      for (let index = 0; index < 100; index++) {
        context.watch(context.spawn(`worker-${index}`, worker, { restart: "never" }), () => "ended");
      }
      return 100;
    },
    receive(count, _ended, context) {
      if (count === SPAWNS) done.resolve(SPAWNS);
      if (count >= SPAWNS) return count;
      context.watch(context.spawn(`worker-${count}`, worker, { restart: "never" }), () => "ended");
      return count + 1;
    },
  });
  return done.promise;
}

async function measure(
  name: string,
  unit: string,
  run: (system: ActorSystem) => Promise<number>,
): Promise<void> {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const system = createSystem({ clock: systemClock, random: systemRandom, scheduler: realScheduler });
    const from = systemClock.mono();
    const count = await run(system);
    rates.push(count / (systemClock.mono() - from) * 1000);
    await system.stop(0);
  }
  const median = rates.sort((left, right) => left - right)[ROUNDS >> 1] ?? 0;
  console.log(`${name.padEnd(42)} ${Math.round(median).toLocaleString("en").padStart(12)} ${unit}/s`);
}

if (import.meta.main) {
  await measure("tell and receive, two actors in turn", "messages", pingPong);
  await measure("tell and receive, bursts of 500", "messages", burst);
  await measure("tell and receive, ring of 1,000 actors", "messages", ring);
  await measure("spawn, one message, stop", "actors", (system) => spawnStop(system, false));
  await measure("spawn, watch, one message, stop", "actors", (system) => spawnStop(system, true));
  await measure("spawn, watch, run work, stop", "actors", spawnWork);
}
