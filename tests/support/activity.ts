/**
 * Knows when adapters on real servers have come to rest: no call is under way, and nothing has come from a server for
 * a while. A manual clock must not go on before that.
 */
import { delay } from "@std/async";
import type { Adapters } from "../../infra/adapters.ts";

/** Deliveries and news travel through a server and back within this time, as a rule. */
const QUIET_MS = 12;
/** What was handed to the broker comes out again, if anybody may have it; on a busy machine within this time. */
const ON_ITS_WAY_MS = 250;
/** Calls after which something is to come. */
const SENDS = new Set(["publish", "sendReports", "sendLines"]);

export class Activity {
  #underWay = 0;
  #lastAt = 0;
  #expectedUntil = 0;

  /** The same adapters, with their calls and what they call back counted. */
  watch(adapters: Adapters): Adapters {
    const { store } = adapters;
    return {
      ...adapters,
      store: {
        ...store,
        jobs: this.#count(store.jobs),
        ledger: this.#count(store.ledger),
        outcomes: this.#count(store.outcomes),
        history: this.#count(store.history),
        lines: this.#count(store.lines),
        check: (deadlineMs) => store.check(deadlineMs),
        close: () => store.close(),
      },
      attempts: this.#count(adapters.attempts),
      queue: this.#count(adapters.queue),
      reports: this.#count(adapters.reports),
      dueIndex: this.#count(adapters.dueIndex),
      leases: this.#count(adapters.leases),
      presence: this.#count(adapters.presence),
      events: this.#count(adapters.events),
    };
  }

  async quiet(): Promise<void> {
    const isBusy = () =>
      this.#underWay > 0 || performance.now() - this.#lastAt < QUIET_MS ||
      performance.now() < this.#expectedUntil;
    while (isBusy()) await delay(2);
  }

  #count<T extends object>(port: T): T {
    return new Proxy(port, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          const answer = value.apply(target, args.map((one) => this.#heard(one)));
          if (!(answer instanceof Promise)) return answer;
          this.#underWay += 1;
          return answer.finally(() => {
            this.#underWay -= 1;
            this.#lastAt = performance.now();
            if (SENDS.has(String(name))) this.#expectedUntil = this.#lastAt + ON_ITS_WAY_MS;
          });
        };
      },
    });
  }

  /** A listener that is called back shows that something came. */
  #heard(argument: unknown): unknown {
    if (typeof argument === "function") {
      return (...args: unknown[]) => {
        this.#lastAt = performance.now();
        this.#expectedUntil = 0;
        return argument(...args);
      };
    }
    if (argument === null || typeof argument !== "object") return argument;
    // Handlers in an object, as `receive` takes them.
    const entries = Object.entries(argument);
    if (entries.length === 0 || !entries.every(([, one]) => typeof one === "function")) return argument;
    return Object.fromEntries(entries.map(([name, one]) => [name, this.#heard(one)]));
  }
}
