/** What a RabbitMQ cluster says of its queues. */
import type { RabbitmqServer } from "./rabbitmq_server.ts";
import { until } from "./program.ts";

export interface ClusterQueue {
  readonly name: string;
  readonly isQuorum: boolean;
  /** Nodes that keep it. */
  readonly members: number;
  /** Of these, nodes that have it now. */
  readonly online: number;
  readonly node: string;
}

/** Asks one node. Takes a second or two. */
export async function clusterQueues(asked: RabbitmqServer): Promise<readonly ClusterQueue[]> {
  const text = await asked.ctl(
    "list_queues",
    "--no-table-headers",
    "name",
    "type",
    "members",
    "online",
    "leader",
    "pid",
  );
  return text.split("\n").filter((line) => line.includes("\t")).map((line) => {
    const [name = "", type = "", members = "", online = "", leader = "", pid = ""] = line.split("\t");
    const count = (list: string) => list.split(",").filter((one) => one.includes("@")).length;
    return {
      name,
      isQuorum: type === "quorum",
      members: count(members),
      online: count(online),
      node: leader.includes("@") ? leader : /<(.+)\.\d+\.\d+\.\d+>/.exec(pid)?.[1] ?? "",
    };
  });
}

/** Waits until each quorum queue is kept by so many nodes and has all of them. */
export async function allOnline(asked: RabbitmqServer, nodes: number): Promise<readonly ClusterQueue[]> {
  return await until(async () => {
    const queues = (await clusterQueues(asked)).filter(({ isQuorum }) => isQuorum);
    return queues.length > 0 && queues.every(({ members, online }) =>
      members === nodes && online === nodes
    ) &&
      queues;
  }, `all quorum queues have ${nodes} nodes`);
}
