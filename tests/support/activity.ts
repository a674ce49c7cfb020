/**
 * Knows when adapters have come to rest: no call is under way, and, on real servers, nothing has come from one for a
 * while. A manual clock must not go on before that.
 */
import { delay } from "@std/async";
import type { Adapters } from "../../infra/adapters.ts";

/** Deliveries and news travel through a server and back within this time, as a rule. */
const QUIET_MS = 12;
/** What was handed to the broker comes out again, if anybody may have it; on a busy machine within this time. */
const ON_ITS_WAY_MS = 250;
/** Calls after which something is to come, and what is called back with it. */
const SENT: Readonly<Record<string, string>> = {
  publish: "consume",
  sendReports: "reports",
  sendLines: "lines",
};

export class Activity {
  #turns = 0;
  #underWay = 0;
  /** When there was last reason to think that something comes. */
  #newsAt = 0;
  /** By what is to be called back: until when it is waited for, and when it was called back last. */
  readonly #expectedUntil = new Map<string, number>();
  readonly #heardAt = new Map<string, number>();

  /** How often something was asked of the adapters, or came from them. */
  get turns(): number {
    return this.#turns;
  }

  get isUnderWay(): boolean {
    return this.#underWay > 0;
  }

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
        oversight: this.#count(store.oversight),
        alerts: this.#count(store.alerts),
        retention: this.#count(store.retention),
        failed: this.#count(store.failed),
        bulk: this.#count(store.bulk),
        facts: this.#count(store.facts),
        check: (deadlineMs) => store.check(deadlineMs),
        close: () => store.close(),
      },
      attempts: this.#count(adapters.attempts),
      queue: this.#count(adapters.queue, true),
      reports: this.#count(adapters.reports, true),
      dueIndex: this.#count(adapters.dueIndex),
      leases: this.#count(adapters.leases),
      presence: this.#count(adapters.presence),
      events: this.#count(adapters.events, true),
    };
  }

  async quiet(): Promise<void> {
    const isBusy = () => {
      const now = performance.now();
      return this.isUnderWay || now - this.#newsAt < QUIET_MS ||
        [...this.#expectedUntil.values()].some((until) => now < until);
    };
    while (isBusy()) await delay(2);
  }

  /** `hasNews`: what is called may lead to something that comes from the server later. */
  #count<T extends object>(port: T, hasNews = false): T {
    return new Proxy(port, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          const calledAt = performance.now();
          this.#turns += 1;
          const answer = value.apply(target, args.map((one) => this.#heard(String(name), one)));
          if (hasNews) this.#newsAt = performance.now();
          if (!(answer instanceof Promise)) return answer;
          this.#underWay += 1;
          return answer.finally(() => {
            this.#underWay -= 1;
            if (!hasNews) return;
            this.#newsAt = performance.now();
            this.#expect(SENT[String(name)], calledAt);
          });
        };
      },
    });
  }

  /** What was sent may have come out before the broker confirmed it. */
  #expect(what: string | undefined, sentAt: number): void {
    if (what === undefined || (this.#heardAt.get(what) ?? 0) >= sentAt) return;
    this.#expectedUntil.set(what, this.#newsAt + ON_ITS_WAY_MS);
  }

  /** A listener that is called back shows that something came. */
  #heard(name: string, argument: unknown): unknown {
    if (typeof argument === "function") {
      return (...args: unknown[]) => {
        this.#turns += 1;
        this.#newsAt = performance.now();
        this.#heardAt.set(name, this.#newsAt);
        this.#expectedUntil.delete(name);
        return argument(...args);
      };
    }
    if (argument === null || typeof argument !== "object") return argument;
    // Handlers in an object, as `receive` takes them.
    const entries = Object.entries(argument);
    if (entries.length === 0 || !entries.every(([, one]) => typeof one === "function")) return argument;
    return Object.fromEntries(entries.map(([key, one]) => [key, this.#heard(key, one)]));
  }
}
