/**
 * What the processes of a simulated installation share: time, the store, the broker, the cache, and what witnesses
 * write down. The store is the real embedded one, in files; only its event loop and its disk are simulated.
 */
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { Store } from "../../actors/ports/store.ts";
import { EmbeddedDueIndex } from "../../infra/embedded/due_index.ts";
import { EmbeddedEvents } from "../../infra/embedded/events.ts";
import { EmbeddedLeases } from "../../infra/embedded/leases.ts";
import type { Pace } from "../../infra/embedded/pace.ts";
import { EmbeddedPresence } from "../../infra/embedded/presence.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import type { ClientCall, Fault } from "../support/cluster_history.ts";
import { KeptLog } from "../support/quiet.ts";
import { Chance } from "./chance.ts";
import { JobBroker } from "./job_broker.ts";
import type { Mutant } from "./mutant.ts";
import { drawProfile, type Profile } from "./profile.ts";
import { ReportBroker } from "./report_broker.ts";
import type { Run } from "./simulated_pool.ts";
import { VirtualTime } from "./virtual_time.ts";
import { type Commit, LAST_SEEN } from "./witness.ts";

export const HEARTBEAT_MS = 5000;
export const LEASE_MS = 15_000;
/** Midnight of a day in each season: some of them have clock changes somewhere. */
const BEGINNINGS = [
  Date.UTC(2026, 0, 1),
  Date.UTC(2026, 2, 28),
  Date.UTC(2026, 6, 1),
  Date.UTC(2026, 9, 24),
] as const;

export interface WorldOptions {
  readonly seed: number;
  readonly folder: string;
  readonly mutant: Mutant | null;
  readonly profile: Partial<Profile>;
}

/** What a Redis holds. */
interface Cache {
  readonly leases: EmbeddedLeases;
  readonly presence: EmbeddedPresence;
  readonly dueIndex: EmbeddedDueIndex;
}

export class World {
  readonly time: VirtualTime;
  readonly profile: Profile;
  readonly clock: Clock;
  readonly jobs: JobBroker;
  readonly reports: ReportBroker;
  readonly events = new EmbeddedEvents(new KeptLog());
  readonly mutant: Mutant | null;
  readonly runs: Run[] = [];
  readonly calls: ClientCall[] = [];
  readonly faults: Fault[] = [];
  readonly commits: Commit[] = [];
  readonly decided = new Map<string, string>();
  readonly reaped = new Map<string, Set<string>>();
  /** Actors that crashed, and why: none should, whatever fails around them. */
  readonly crashes: string[] = [];
  cache: Cache;
  /** Nothing goes wrong any more. */
  isCalm = false;
  /** Milliseconds that all wall clocks are off. */
  wallStepMs = 0;
  /** Milliseconds that a sync of the disk takes, on average. */
  diskMs = 1;
  #store: { readonly store: Store; readonly attempts: Attempts } | null = null;
  #closing: Promise<void> = Promise.resolve();
  readonly #beginning: number;
  readonly #disk: Chance;
  readonly #lastSeen = new WeakMap<object, () => number>();

  private constructor(private readonly options: WorldOptions) {
    const { seed } = options;
    this.mutant = options.mutant;
    this.time = new VirtualTime(new Chance(seed, "order"));
    this.profile = { ...drawProfile(this.chance("profile")), ...options.profile };
    this.#beginning = this.chance("beginning").pick(BEGINNINGS);
    this.#disk = this.chance("disk");
    const isCalm = () => this.isCalm;
    this.clock = {
      now: () => this.wall(),
      mono: () => this.time.mono,
      timer: (delayMs, callback) => this.time.timer(delayMs, callback),
    };
    this.jobs = new JobBroker(this.time, this.chance("messages"), this.profile.messages, isCalm);
    this.reports = new ReportBroker(this.time, this.chance("reports"), this.profile.reports, isCalm);
    this.cache = this.newCache();
  }

  static async open(options: WorldOptions): Promise<World> {
    const world = new World(options);
    await world.time.until(world.openStore());
    return world;
  }

  chance(concern: string): Chance {
    return new Chance(this.options.seed, concern);
  }

  get seed(): number {
    return this.options.seed;
  }

  get folder(): string {
    return this.options.folder;
  }

  /** Epoch milliseconds, as no clock of the installation may know them. */
  trueNow(): number {
    return this.#beginning + this.time.mono;
  }

  /** Epoch milliseconds by clocks that are right but for the steps that all of them make. */
  wall(): number {
    return Math.round(this.trueNow() + this.wallStepMs);
  }

  get store(): Store {
    if (this.#store === null) throw new Error("The store is closed");
    return this.#store.store;
  }

  get isStoreOpen(): boolean {
    return this.#store !== null;
  }

  get attempts(): Attempts {
    if (this.#store === null) throw new Error("The store is closed");
    return this.#store.attempts;
  }

  /** Gives the store that is open, or opens it. Promises settle only while time goes on. */
  async openStore(): Promise<void> {
    await this.#closing;
    if (this.#store !== null) return;
    this.#store = await openEmbeddedStore({
      folder: this.options.folder,
      clock: this.clock,
      random: this.chance("store").random(this.clock),
      log: new KeptLog(),
      pace: this.#pace(),
    });
  }

  async closeStore(): Promise<void> {
    const open = this.#store;
    this.#store = null;
    if (open !== null) this.#closing = open.store.close();
    await this.#closing;
  }

  newCache(): Cache {
    return {
      leases: new EmbeddedLeases(this.clock),
      presence: new EmbeddedPresence(this.clock, 3 * HEARTBEAT_MS),
      dueIndex: new EmbeddedDueIndex(),
    };
  }

  #pace(): Pace {
    const disk = this.#disk;
    return {
      turn: () => this.time.turn(),
      mono: () => this.time.mono,
      sync: (database) => {
        if (database.path.endsWith("milvaion.db")) {
          let lastSeen = this.#lastSeen.get(database);
          if (lastSeen === undefined) {
            const statement = database.prepare(LAST_SEEN);
            lastSeen = () => Number(statement.row()?.[0]);
            this.#lastSeen.set(database, lastSeen);
          }
          const upTo = lastSeen();
          if (upTo > (this.commits.at(-1)?.upTo ?? 0)) this.commits.push({ upTo, at: this.trueNow() });
        }
        return this.diskMs === 0 ? Promise.resolve() : this.time.sleep(disk.wait(this.diskMs));
      },
    };
  }
}
