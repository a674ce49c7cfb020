/** Does harm to a simulated installation, as the seed says, and writes down what it did from when to when. */
import type { Chance } from "./chance.ts";
import type { Installation } from "./installation.ts";
import { type Harm, type Server, SERVERS } from "./profile.ts";
import type { World } from "./world.ts";

const SECOND = 1000;

export class Nemesis {
  readonly #chance: Chance;
  readonly #underWay = new Set<Promise<void>>();
  readonly #stopped = Promise.withResolvers<void>();
  #isStopped = false;

  constructor(private readonly world: World, private readonly installation: Installation) {
    this.#chance = world.chance("nemesis");
  }

  /** Goes on until `stop`. Several harms may overlap. */
  async start(): Promise<void> {
    const { harms, harmEveryMs } = this.world.profile;
    while (harms.length > 0 && !this.#isStopped) {
      await this.world.time.sleep(this.#chance.wait(harmEveryMs));
      const harm = this.#chance.oneOf(harms);
      if (this.#isStopped || harm === undefined) continue;
      const done = this.#during(harm).finally(() => this.#underWay.delete(done));
      this.#underWay.add(done);
    }
  }

  /** All harm that is under way ends now; settles when it is undone and written down. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopped.resolve();
    await Promise.all(this.#underWay);
  }

  async #during(harm: Harm): Promise<void> {
    const from = this.world.trueNow();
    const what = await this.#do(harm);
    if (what === null) return;
    this.world.faults.push({ what, from, to: this.world.trueNow(), isFreeze: harm === "freeze" });
  }

  /** Harm lasts so long, but not on when there is to be none any more. */
  async #lasts(ms: number): Promise<void> {
    await Promise.race([this.world.time.sleep(ms), this.#stopped.promise]);
  }

  /** Gives in words what was done, when it is over; null when there was nothing to do it to. */
  async #do(harm: Harm): Promise<string | null> {
    const { world, installation } = this;
    const chance = this.#chance;
    const node = installation.someNode(chance);
    switch (harm) {
      case "kill": {
        if (node === undefined) return null;
        await installation.kill(node);
        await this.#lasts(chance.wait(15 * SECOND));
        await installation.startAgain(node.role);
        return `${node.instanceId} killed`;
      }
      case "stop": {
        if (node === undefined) return null;
        await installation.stop(node, chance.pick([0, 2000, 10_000]));
        await this.#lasts(chance.wait(5 * SECOND));
        await installation.startAgain(node.role);
        return `${node.instanceId} stopped`;
      }
      case "freeze": {
        if (node === undefined) return null;
        node.freeze();
        await this.#lasts(chance.wait(chance.pick([1, 8, 25, 90]) * SECOND));
        node.thaw();
        return `${node.instanceId} frozen`;
      }
      case "cut-off":
      case "silence": {
        if (node === undefined) return null;
        const servers = SERVERS.filter(() => chance.happens(0.5));
        for (const server of servers) node.wire.setLink(server, harm === "silence" ? "silent" : "cut");
        await this.#lasts(chance.wait(chance.pick([2, 12, 40]) * SECOND));
        for (const server of servers) node.wire.setLink(server, "up");
        return `${node.instanceId}: ${servers.join(", ")} ${harm}`;
      }
      case "store-away": {
        const server: Server = chance.pick(["store", "broker", "cache"]);
        for (const one of installation.nodes) one.wire.setLink(server, "cut");
        await this.#lasts(chance.wait(chance.pick([3, 10, 60]) * SECOND));
        for (const one of installation.nodes) one.wire.setLink(server, "up");
        return `${server} away`;
      }
      case "cache-emptied":
        world.cache = world.newCache();
        return "cache emptied";
      case "broker-emptied":
        world.jobs.replace();
        return "broker replaced by an empty one";
      case "slow-disk": {
        world.diskMs = chance.pick([50, 500, 2000]);
        await this.#lasts(chance.wait(20 * SECOND));
        world.diskMs = 1;
        return "slow disk";
      }
      case "clock-step": {
        const step = chance.pick([-1, 1]) * chance.pick([1, 30, 600, 3600]) * SECOND;
        world.wallStepMs += step;
        await this.#lasts(chance.wait(300 * SECOND));
        world.wallStepMs -= step;
        return `clocks stepped by ${step} ms and back`;
      }
      default:
        return harm satisfies never;
    }
  }
}
