/** What is looked at where Redis is several servers: the slots of a Cluster and their load, or the sentinels. */
import type { NodeLoad } from "../redis/node_load.ts";
import type { RedisCluster } from "../redis/cluster.ts";
import type { RedisSentinels } from "../redis/sentinels.ts";
import { SLOTS } from "../redis/slots.ts";
import { failed, type Finding, ok, unknown, warning } from "./check.ts";

/** Which master serves how many slots, and whether each has a replica. */
export async function slots(cluster: RedisCluster): Promise<Finding> {
  await cluster.refresh();
  const map = cluster.slots;
  if (map === null) return unknown("The nodes do not say which slots they serve.");
  const counts = [...map.counts].sort(([a], [b]) => a < b ? -1 : 1);
  const served = counts.reduce((sum, [, count]) => sum + count, 0);
  const shares = counts.map(([place, count]) => `${place} ${count.toLocaleString("en")}`).join(", ");
  const words = `${served.toLocaleString("en")} of ${SLOTS.toLocaleString("en")} slots are served by ` +
    `${counts.length} masters (${shares}), with ${map.replicas.size} replicas`;
  if (served < SLOTS) {
    return failed(`${words}: keys in the others cannot be used.`, "redis-cli --cluster fix <host>:<port>");
  }
  if (!cluster.isWhole) {
    return warning(
      `${words}; not all of the masters answer (${cluster.lastError}).`,
      "Start that node again, or give its slots to another: redis-cli --cluster check <host>:<port>",
    );
  }
  if (map.replicas.size < counts.length) {
    return warning(
      `${words}: without a replica the keys of a master that is lost are away until it is back.`,
      "Add one for each master: redis-cli --cluster add-node <new> <node> --cluster-slave",
    );
  }
  return ok(`${words}.`);
}

/** Whether the other masters go on when one is lost. */
export async function coverage(cluster: RedisCluster): Promise<Finding> {
  const setting = "cluster-require-full-coverage";
  const answers = await cluster.askEach(
    "Cannot read the configuration",
    (client) => client.config("GET", setting),
  );
  const strict = answers.filter(({ answer }) => JSON.stringify(answer).includes('"yes"'));
  if (strict.length === 0) return ok("The other masters go on when one is lost.");
  return warning(
    `When one master is lost, the others refuse too (${setting} is yes on ${
      strict.map(({ place }) => place).join(", ")
    }). Nothing is lost: the leader works on from the store.`,
    `redis-cli --cluster call <host>:<port> config set ${setting} no, and the same in redis.conf.`,
  );
}

/** Keys, memory and commands of each master, and whether the due index can spread. */
export function load(loads: readonly NodeLoad[], partitions: number): Finding {
  const words = loads.map(({ place, keys, bytes, commandsPerSecond }) =>
    `${place}: ${keys.toLocaleString("en")} keys, ${(bytes / 1024 / 1024).toFixed(1)} MiB, ` +
    `${commandsPerSecond.toLocaleString("en")} commands/s`
  ).join("; ");
  if (partitions >= loads.length) return ok(`${words}.`);
  return warning(
    `${words}. The due index has ${partitions} ${
      partitions === 1 ? "part" : "parts"
    } for ${loads.length} masters.`,
    "Set MilvaionConfig.Redis.DueIndexPartitions to 0 (16 parts), on all instances.",
  );
}

/** Whether the sentinels answer, agree, and are enough to agree on a failover. */
export async function sentinelQuorum(sentinels: RedisSentinels): Promise<Finding> {
  const [reports, quorums] = await Promise.all([sentinels.reports(), sentinels.quorums()]);
  const { places } = sentinels;
  const away = places.filter(({ isReady }) => !isReady);
  const masters = new Set([...reports.values()].map(({ ip, port }) => `${ip}:${port}`));
  const [report = {}] = reports.values();
  const replicas = Number(report["num-slaves"] ?? 0);
  const known = Number(report["num-other-sentinels"] ?? 0) + 1;
  const words = `${reports.size} of ${places.length} sentinels answer and name ${
    [...masters].join(" and ")
  }; quorum ${report["quorum"]} of ${known}, ${replicas} ${replicas === 1 ? "replica" : "replicas"}`;
  const refusal = [...quorums.values()].find((said) => !said.startsWith("OK"));
  if (refusal !== undefined) {
    return failed(
      `${words}: no failover is possible (${refusal}).`,
      "Start the sentinels that are down, three at least, on machines of their own.",
    );
  }
  if (masters.size > 1) {
    return warning(`${words}: they do not agree.`, "Wait for a failover to end, and look again.");
  }
  if (away.length > 0) {
    return warning(
      `${words}; ${away.map(({ place, error }) => `${place}: ${error ?? "no answer"}`).join(", ")}.`,
      "Start that sentinel, or take it out of REDIS_URL.",
    );
  }
  if (replicas === 0) return failed(`${words}: nobody could take over.`, "Start a replica of that server.");
  return ok(`${words}.`);
}
