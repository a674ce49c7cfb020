/**
 * The calls of one simulated process to its servers. A call takes time there and back, and goes wrong in four ways:
 * refused (not done), unanswered (done, and nobody hears of it), unheard (not done, known only by its deadline), late
 * (done after its caller gave up). The link to a server may also be cut or silent for a while.
 */
import { Unavailable } from "../../actors/ports/unavailable.ts";
import type { Chance } from "./chance.ts";
import type { Gate } from "./gate.ts";
import type { CallRates, Profile, Server } from "./profile.ts";
import type { VirtualTime } from "./virtual_time.ts";

export type LinkState = "up" | "cut" | "silent";

/** What adapters wait for an answer at most. */
const DEADLINE_MS: Readonly<Record<Server, number>> = { store: 10_000, broker: 10_000, cache: 2000 };
/** A call that was under way for longer than this is lost for good. */
const LATE_AT_MOST_MS = 20_000;

type Fate = "answered" | Exclude<keyof CallRates, "latencyMs">;

export class Wire {
  readonly #links: Record<Server, LinkState> = { store: "up", broker: "up", cache: "up" };
  readonly #linkListeners = new Set<(server: Server) => void>();

  constructor(
    private readonly parts: {
      readonly time: VirtualTime;
      readonly gate: Gate;
      readonly chance: Chance;
      readonly profile: Profile;
      /** True from the moment on at which nothing goes wrong any more. */
      readonly isCalm: () => boolean;
    },
  ) {}

  isUp(server: Server): boolean {
    return this.#links[server] === "up";
  }

  setLink(server: Server, state: LinkState): void {
    if (this.#links[server] === state) return;
    this.#links[server] = state;
    for (const listener of [...this.#linkListeners]) listener(server);
  }

  onLink(listener: (server: Server) => void): () => void {
    this.#linkListeners.add(listener);
    return () => this.#linkListeners.delete(listener);
  }

  /** Has the server do it, and brings back what it says, as far as it comes back. */
  call<T>(server: Server, method: string, execute: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const { gate } = this.parts;
    const refuse = (afterMs: number, why: string) =>
      this.#after(afterMs, () => gate.pass(() => reject(new Unavailable(`simulated: ${method} ${why}`))));
    const unheeded = () => void execute().catch(() => {});
    const deadline = DEADLINE_MS[server];
    const fate = this.#fate(server, method);
    switch (fate) {
      case "refused":
        refuse(this.#latency(), fate);
        break;
      case "unheard":
        refuse(deadline, fate);
        break;
      case "late":
        refuse(deadline, fate);
        this.#after(deadline + this.parts.chance.between(1, LATE_AT_MOST_MS), unheeded);
        break;
      case "unanswered":
        this.#after(this.#latency(), unheeded);
        refuse(this.parts.chance.happens(0.5) ? deadline : this.#latency() + 5, fate);
        break;
      case "answered":
        this.#after(this.#latency(), () => {
          const answer = (settle: () => void) =>
            this.#after(this.#latency(), () => {
              if (this.isUp(server)) gate.pass(settle);
              else refuse(deadline, "lost its link");
            });
          execute().then((value) => answer(() => resolve(value)), (error) => answer(() => reject(error)));
        });
    }
    return promise;
  }

  /** The same port, reached through this wire; its methods all give promises. */
  port<T extends object>(server: Server, port: T): T {
    const methods = new Map<string | symbol, unknown>();
    return new Proxy(port, {
      get: (target, name) => {
        const known = methods.get(name);
        if (known !== undefined) return known;
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        const wired = (...args: unknown[]) =>
          this.call(server, String(name), () => value.apply(target, args));
        methods.set(name, wired);
        return wired;
      },
    });
  }

  #fate(server: Server, method: string): Fate {
    const { chance, profile, isCalm } = this.parts;
    const link = this.#links[server];
    if (link === "cut") return "refused";
    if (link === "silent") return "unheard";
    if (isCalm()) return "answered";
    const { calls, hot } = profile;
    const fates = ["refused", "unanswered", "unheard", "late"] as const;
    const possible = fates.filter((fate) => calls[fate] > 0);
    if (hot.methods.includes(method) && chance.happens(hot.share)) return chance.oneOf(possible) ?? "refused";
    if (possible.length === 0) return "answered";
    let left = chance.next();
    for (const fate of possible) {
      left -= calls[fate];
      if (left < 0) return fate;
    }
    return "answered";
  }

  #latency(): number {
    const { latencyMs } = this.parts.profile.calls;
    return latencyMs === 0 || this.parts.isCalm() ? 0 : this.parts.chance.wait(latencyMs);
  }

  #after(ms: number, run: () => void): void {
    if (ms === 0) run();
    else this.parts.time.timer(ms, run);
  }
}
