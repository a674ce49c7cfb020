/** A Redis Cluster of one's own: masters, each with so many replicas, on free ports, to be stopped and killed. */
import { SLOTS } from "../../infra/redis/slots.ts";
import { until } from "./program.ts";
import { RedisServer } from "./redis_server.ts";

/** After this time without an answer a node counts as gone, and its replica takes over. Milliseconds. */
export const NODE_TIMEOUT_MS = 2000;

export interface RedisClusterOptions {
  readonly masters?: number;
  /** Of each master. */
  readonly replicas?: number;
  /** Further arguments of each node. */
  readonly args?: readonly string[];
}

export class RedisClusterServers implements AsyncDisposable {
  private constructor(
    /** In the order of their slots. */
    readonly masters: readonly RedisServer[],
    /** By the master's place in that order. */
    readonly replicas: readonly (readonly RedisServer[])[],
  ) {}

  /** Starts the nodes, makes them a cluster, and waits until each of them finds it whole. */
  static async start(options: RedisClusterOptions = {}): Promise<RedisClusterServers> {
    const { masters = 3, replicas = 0, args = [] } = options;
    const start = () =>
      RedisServer.start({
        isNode: true,
        args: [
          ...["--cluster-enabled", "yes", "--cluster-node-timeout", String(NODE_TIMEOUT_MS)],
          // What is on the other masters goes on; and a node that was cut off takes over as soon as it may.
          ...["--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"],
          ...["--repl-diskless-sync-delay", "0", ...args],
        ],
      });
    await using stack = new AsyncDisposableStack();
    const started = await Promise.all(
      Array.from({ length: masters * (1 + replicas) }, async () => stack.use(await start())),
    );
    const heads = started.slice(0, masters);
    const cluster = new RedisClusterServers(
      heads,
      heads.map((_, index) => started.slice(masters + index * replicas, masters + (index + 1) * replicas)),
    );
    await cluster.#join();
    stack.move();
    return cluster;
  }

  /** Names the masters; the other nodes are found. */
  get url(): string {
    return `redis+cluster://${this.masters.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  }

  get nodes(): readonly RedisServer[] {
    return [...this.masters, ...this.replicas.flat()];
  }

  /** The master that serves a key's slot now, replicas that took over included. */
  async masterOf(key: string): Promise<RedisServer> {
    const asked = this.#running();
    const slot = Number(await asked.cli("cluster", "keyslot", key));
    for (const line of (await asked.cli("cluster", "nodes")).split("\n")) {
      const [, address = "", flags = "", , , , , ...ranges] = line.split(" ");
      if (!flags.includes("master") || flags.includes("fail")) continue;
      const serves = ranges.some((range) => {
        const [first = NaN, last = first] = range.split("-").map(Number);
        return slot >= first && slot <= last;
      });
      const port = Number(/:(\d+)@/.exec(address)?.[1]);
      const found = this.nodes.find((node) => node.port === port);
      if (serves && found !== undefined) return found;
    }
    throw new Error(`no master serves slot ${slot} of ${key}`);
  }

  /** How this node is called by the others. */
  async idOf(node: RedisServer): Promise<string> {
    return await node.cli("cluster", "myid");
  }

  /**
   * Begins to move a slot: from now on each of the two asks for the other's keys. `finish` moves the keys that are
   * there, and tells all masters.
   */
  async migrate(slot: number, from: RedisServer, to: RedisServer): Promise<{ finish(): Promise<void> }> {
    const [source, target] = [await this.idOf(from), await this.idOf(to)];
    await to.cli("cluster", "setslot", String(slot), "importing", source);
    await from.cli("cluster", "setslot", String(slot), "migrating", target);
    return {
      finish: async () => {
        while (true) {
          const keys = (await from.cli("cluster", "getkeysinslot", String(slot), "100")).split("\n")
            .filter((key) => key !== "");
          if (keys.length === 0) break;
          await from.cli("migrate", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys);
        }
        for (const node of [to, from, ...this.masters]) {
          await node.cli("cluster", "setslot", String(slot), "node", target);
        }
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
  }

  async #join(): Promise<void> {
    const { masters, replicas } = this;
    const share = SLOTS / masters.length;
    await Promise.all(masters.map((node, index) =>
      node.cli(
        "cluster",
        "addslotsrange",
        String(Math.ceil(index * share)),
        String(Math.ceil((index + 1) * share) - 1),
      )
    ));
    await Promise.all(
      this.nodes.map((node, index) => node.cli("cluster", "set-config-epoch", String(index + 1))),
    );
    const [first, ...others] = this.nodes;
    for (const node of others) await node.cli("cluster", "meet", "127.0.0.1", String(first?.port));
    await this.#areWhole(`cluster_known_nodes:${this.nodes.length}`);
    await Promise.all(masters.flatMap((master, index) =>
      (replicas[index] ?? []).map(async (replica) => {
        await replica.cli("cluster", "replicate", await this.idOf(master));
        await until(
          async () => (await replica.cli("info", "replication")).includes("master_link_status:up"),
          "a replica has copied its master",
        );
      })
    ));
    await this.#areWhole(`cluster_size:${masters.length}`);
  }

  async #areWhole(expected: string): Promise<void> {
    for (const node of this.nodes) {
      await until(async () => {
        const said = await node.cli("cluster", "info");
        return said.includes("cluster_state:ok") && said.includes(`cluster_slots_ok:${SLOTS}`) &&
          said.includes(expected);
      }, "a node finds the cluster whole");
    }
  }

  #running(): RedisServer {
    const node = this.nodes.find((one) => one.isRunning);
    if (node === undefined) throw new Error("no node runs");
    return node;
  }
}
