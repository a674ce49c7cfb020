/**
 * Trees of actors that spawn, tell, watch, work, set timers, crash and stop at random, under many seeds. Whatever
 * happens, the history must obey the promises of the kernel. A seed that fails is a test to keep.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { realScheduler } from "../../infra/scheduler.ts";
import { type ActorDefinition, type ActorRef, STOP } from "./actor.ts";
import type { InspectEvent } from "./inspect.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { simulate } from "./simulation.ts";
import type { Supervision } from "./supervision.ts";

/** What the actors and those who tell them saw, to hold against what the kernel says happened. */
class Ledger {
  accepted = 0;
  refusedAsStopped = 0;
  received = 0;
  started = 0;
  lastWords = 0;
  watches = 0;
  readonly heardEnds: string[] = [];
  readonly all: ActorRef<string>[] = [];

  tell(actor: ActorRef<string> | undefined, message: string): void {
    const answer = actor?.tell(message);
    if (answer === "accepted") this.accepted++;
    if (answer === "stopped") this.refusedAsStopped++;
  }
}

const ACTS = ["tell", "spawn", "watch", "work", "timer", "cancel", "stop child", "stop", "crash"];
/** Ends are rarer than the rest, so that trees grow before they fall. */
const LIKELY = [
  ...ACTS,
  "tell",
  "tell",
  "tell",
  "spawn",
  "spawn",
  "spawn",
  "spawn",
  "watch",
  "work",
  "timer",
];

function wild(
  random: SeededRandom,
  ledger: Ledger,
  depth: number,
): ActorDefinition<ActorRef<string>[], string> {
  const choose = <T>(list: readonly T[]): T | undefined => list[Math.floor(random.next() * list.length)];
  const supervision: Supervision = {
    strategy: random.next() < 0.5 ? "one-for-one" : "all-for-one",
    maxRestarts: Math.floor(random.next() * 8),
    withinMs: 500,
    backoff: { firstMs: 4, maxMs: 100 },
  };
  return {
    kind: "wild",
    mailbox: {
      capacity: 4,
      whenFull: "coalesce",
      coalesceKey: (message) => message === "watch" ? message : null,
    },
    supervision,
    start(context) {
      if (random.next() < 0.05) throw new Error("cannot start");
      ledger.started++;
      ledger.all.push(context.self);
      return [];
    },
    receive(children, message, context) {
      if (ACTS.includes(message)) ledger.received++;
      switch (message) {
        case "tell": {
          for (const actor of [choose(ledger.all), context.self]) {
            ledger.tell(actor, choose(LIKELY) ?? "tell");
          }
          return children;
        }
        case "spawn": {
          if (depth === 0) return children;
          const restart = choose(["always", "on-crash", "never"] as const) ?? "never";
          const name = `${ledger.all.length}-${Math.floor(random.next() * 1e9)}`;
          return [...children, context.spawn(name, wild(random, ledger, depth - 1), { restart })];
        }
        case "watch": {
          const target = choose(ledger.all);
          const watch = ledger.watches++;
          if (target !== undefined) context.watch(target, () => `end of ${watch}`);
          return children;
        }
        case "work":
          context.run(async (signal) => await signal.aborted, () => "worked");
          return children;
        case "timer":
          context.after("once", Math.floor(random.next() * 20), "tick");
          context.every("beat", 7, "tick");
          return children;
        case "cancel":
          context.cancelTimer("beat");
          return children;
        case "stop child": {
          const child = choose(children);
          if (child !== undefined) context.stopChild(child);
          return children;
        }
        case "stop":
          return STOP;
        case "crash":
          throw new Error("crash");
        case "leave":
          return STOP;
        default:
          if (message.startsWith("end of ")) ledger.heardEnds.push(message);
          return children;
      }
    },
    stopping(children, context) {
      if (random.next() < 0.5) return STOP;
      if (random.next() < 0.8) context.after("leave", Math.floor(random.next() * 50), "leave");
      return children;
    },
    stopped() {
      ledger.lastWords++;
    },
  };
}

/** Per actor: spawned, then runs, then stopped, then nothing but dead letters; parents outlive their children. */
function checkHistory(history: readonly InspectEvent[]): void {
  const phase = new Map<string, "spawned" | "running" | "waiting" | "ended">();
  for (const event of history) {
    const key = `${event.id} ${event.path}`;
    const before = phase.get(key);
    const say = `${event.type} of ${key} while ${before}`;
    switch (event.type) {
      case "spawned":
        assertEquals(before, undefined, say);
        phase.set(key, "spawned");
        break;
      case "started":
        assertEquals(before, "spawned", say);
        phase.set(key, "running");
        break;
      case "restarted":
        assertEquals(before, "waiting", say);
        phase.set(key, "running");
        break;
      case "received":
      case "timerFired":
        assertEquals(before, "running", say);
        break;
      case "crashed":
        assertEquals(before, "running", say);
        break;
      case "backingOff":
        assert(before !== undefined && before !== "ended", say);
        phase.set(key, "waiting");
        break;
      case "stopped": {
        assert(before !== undefined && before !== "ended", say);
        phase.set(key, "ended");
        for (const [other, state] of phase) {
          const path = other.slice(other.indexOf(" ") + 1);
          assert(!path.startsWith(`${event.path}/`) || state === "ended", `${other} outlives ${key}`);
        }
        break;
      }
      case "lastWordThrew":
        throw event.error;
    }
  }
  for (const [key, state] of phase) assertEquals(state, "ended", key);
}

function count(history: readonly InspectEvent[], matches: (event: InspectEvent) => boolean): number {
  return history.filter(matches).length;
}

async function live(seed: number, graceMs: number): Promise<InspectEvent[]> {
  const history: InspectEvent[] = [];
  const ledger = new Ledger();
  const { system, clock, random } = simulate({
    seed,
    soon: realScheduler,
    onInspect: (event) => history.push(event),
  });
  for (let top = 0; top < 3; top++) {
    system.spawn(`top-${top}`, wild(random, ledger, 3), { restart: "always" });
  }
  for (let round = 0; round < 30; round++) {
    for (let told = 0; told < 4; told++) {
      const actor = ledger.all[Math.floor(random.next() * ledger.all.length)];
      ledger.tell(actor, LIKELY[Math.floor(random.next() * LIKELY.length)] ?? "tell");
    }
    if (round % 3 === 0) await clock.advance(Math.floor(random.next() * 40));
  }
  const stopped = system.stop(graceMs);
  await clock.advance(graceMs);
  await stopped;
  await system.idle();

  checkHistory(history);
  assertEquals(system.snapshot(), []);
  assertEquals(clock.timers, 0, "a timer is left");
  assertEquals(ledger.lastWords, ledger.started, "each run that started has one last word");
  assertEquals(new Set(ledger.heardEnds).size, ledger.heardEnds.length, "a watcher heard an end twice");
  const merged = count(history, (event) => event.type === "merged");
  const told = count(history, (event) => event.type === "deadLetter" && event.why === "stopped");
  const left = told - ledger.refusedAsStopped;
  assertEquals(ledger.accepted, ledger.received + merged + left, "a message was lost, or received twice");
  assertEquals(system.deadLetters, count(history, (event) => event.type === "deadLetter"));
  for (const actor of ledger.all) assertEquals(actor.tell("late"), "stopped");
  return history;
}

Deno.test("whatever actors do, histories are well-formed, all end within the grace, and nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 ** 30 }),
      fc.constantFrom(0, 10, 200),
      async (seed, graceMs) => {
        await live(seed, graceMs);
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("a wild history is the same for the same seed", async () => {
  const shape = (history: InspectEvent[]) => history.map(({ type, id, at }) => `${at} ${id} ${type}`);
  assertEquals(shape(await live(42, 100)), shape(await live(42, 100)));
});
