/** The processes of a simulated installation: which there are, and what can be done to each. */
import type { Chance } from "./chance.ts";
import { type Role, SimulatedNode } from "./simulated_node.ts";
import type { World } from "./world.ts";

/** Longer than any grace that is given. */
const STOP_MS = 60_000;

export class Installation {
  #nodes: SimulatedNode[] = [];
  readonly #lives = new Map<string, number>();
  #starting: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(private readonly world: World) {}

  static start(world: World): Installation {
    const installation = new Installation(world);
    for (const role of rolesOf(world)) installation.#start(role);
    return installation;
  }

  /** All that have not ended, frozen ones too. */
  get nodes(): readonly SimulatedNode[] {
    return this.#nodes;
  }

  get apis(): readonly SimulatedNode[] {
    return this.#nodes.filter(({ role }) => role.isApi);
  }

  /** One that nothing is being done to. */
  someNode(chance: Chance): SimulatedNode | undefined {
    return chance.oneOf(this.#nodes.filter(({ gate }) => gate.state === "open"));
  }

  async kill(node: SimulatedNode): Promise<void> {
    node.kill();
    await this.#forget(node);
  }

  /** In order, with a grace in milliseconds. */
  async stop(node: SimulatedNode, graceMs: number): Promise<void> {
    await node.stop(graceMs);
    await this.#forget(node);
  }

  /** Another process in the place of one that has ended; one at a time, and one only of each role. */
  startAgain(role: Role): Promise<void> {
    this.#starting = this.#starting.then(async () => {
      if (this.#isClosed || this.#nodes.some((node) => node.role.name === role.name)) return;
      if (this.world.profile.isEmbedded) await this.world.openStore();
      if (!this.#isClosed) this.#start(role);
    });
    return this.#starting;
  }

  /** Ends all processes in order. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const node of this.#nodes) await this.world.time.until(node.stop(STOP_MS));
    this.#nodes = [];
  }

  #start(role: Role): void {
    const life = this.#lives.get(role.name) ?? 0;
    this.#lives.set(role.name, life + 1);
    this.#nodes.push(new SimulatedNode(this.world, role, life));
  }

  async #forget(node: SimulatedNode): Promise<void> {
    this.#nodes = this.#nodes.filter((one) => one !== node);
    if (!this.world.profile.isEmbedded) return;
    // What was in the process is gone with it, its locks too.
    this.world.cache = this.world.newCache();
    await this.world.closeStore();
  }
}

function rolesOf({ profile }: World): readonly Role[] {
  const { isEmbedded, apis, workers } = profile;
  if (isEmbedded) return [{ name: "all", isApi: true, isWorker: true }];
  return [
    ...Array.from(
      { length: apis },
      (_, index) => ({ name: `api${index + 1}`, isApi: true, isWorker: false }),
    ),
    ...Array.from({ length: workers }, (_, index) => ({
      name: `worker${index + 1}`,
      isApi: false,
      isWorker: true,
    })),
  ];
}
