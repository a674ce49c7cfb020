/** Redis, looked at with a trial key that goes again within seconds. */
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import { RedisConnection } from "../redis/connection.ts";
import { RedisKeys } from "../redis/keys.ts";
import { RedisPresence } from "../redis/presence.ts";
import { CONNECT_MS, type Examination, failed, type Finding, ok, unknown, warning } from "./check.ts";
import { encryption, judgeSkew, type ServerAddress, serverAddress, skewOf } from "./server_address.ts";

export interface RedisQuestions {
  readonly url: string;
  /** `MilvaionConfig.Redis.KeyPrefix`. */
  readonly keyPrefix: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Worker processes, as far as known; asked once. */
  readonly workers: () => Promise<number | null>;
}

const TRIAL_MS = 10_000;
const CONNECTIONS_A_PROCESS = 3;
/** API instances and other clients, besides the workers. */
const OTHER_CONNECTIONS = 50;
const FEW_CONNECTIONS = 1000;
const CROWDED = 0.8;

export function redisExamination(questions: RedisQuestions): Examination<RedisConnection> {
  const { url, keyPrefix, clock, random, workers } = questions;
  const address = serverAddress(url, 6379);
  const isEncrypted = url.startsWith("rediss:");
  return {
    subject: "Redis",
    reach: () => reachRedis(url, clock),
    explain: (error) => explainFailure(error, address),
    checks: [
      { name: "reachable", look: () => ok(`${address.place} answers.`) },
      { name: "version", look: async (redis) => version(await readInfo(redis, "server")) },
      {
        name: "permission",
        look: (redis) => permission(redis, `${keyPrefix}doctor:${random.uuid()}`, keyPrefix),
      },
      { name: "role", look: async (redis) => role(await readInfo(redis, "replication")) },
      { name: "clock", look: (redis) => skew(redis, clock) },
      {
        name: "connections",
        look: async (redis) => connections(await readInfo(redis, "clients"), await workers()),
      },
      { name: "eviction", look: async (redis) => eviction(await readInfo(redis, "memory")) },
      { name: "persistence", look: async (redis) => persistence(await readInfo(redis, "persistence")) },
      {
        name: "encryption",
        look: () => encryption(address, isEncrypted, "Use rediss:// in REDIS_URL, and TLS on the server."),
      },
    ],
    leave: (redis) => redis.close(),
  };
}

/** Rejects with what the first attempt to connect said. */
export function reachRedis(url: string, clock: Pick<Clock, "timer">): Promise<RedisConnection> {
  const connection = new RedisConnection({ url, name: "milvaion-doctor", timeoutMs: CONNECT_MS, clock });
  return new Promise((resolve, reject) => {
    connection.onChange((isReady) => {
      if (isReady) return resolve(connection);
      const reason = connection.lastError ?? "the connection was closed";
      connection.close().then(() => reject(new Error(reason)), reject);
    });
  });
}

/** Who announces itself in Redis; a few that went without a word may be among them. */
export async function readInstances(
  redis: RedisConnection,
  options: { readonly keyPrefix: string; readonly storeId: string; readonly clock: Clock },
): Promise<readonly WorkerInstance[]> {
  const { keyPrefix, storeId, clock } = options;
  // For ever: this machine's clock may be the one that is wrong.
  return await new RedisPresence(redis, new RedisKeys(keyPrefix, storeId), clock, Infinity).list();
}

type Info = (name: string) => string | null;

/** A section of INFO; rejects where the user may not ask. */
async function readInfo(redis: RedisConnection, section: string): Promise<Info> {
  const text = await redis.ask(`Cannot read INFO ${section}`, (client) => client.info(section));
  const values = new Map(
    text.split("\r\n").map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at), line.slice(at + 1)] as const;
    }),
  );
  return (name) => values.get(name) ?? null;
}

function explainFailure({ message }: Error, { place }: ServerAddress): Finding {
  if (/WRONGPASS|NOAUTH|\bAUTH\b/.test(message)) {
    return failed(`${place} refuses the user: ${message}.`, "Check user and password of REDIS_URL.");
  }
  if (/max number of clients/.test(message)) {
    return failed(
      `${place} has no connection left: ${message}.`,
      "Raise maxclients of Redis, 10,000 by default.",
    );
  }
  return failed(
    `${place} cannot be reached: ${message}.`,
    "Check that Redis runs there, that nothing stands between, and REDIS_URL.",
  );
}

function version(info: Info): Finding {
  const text = info("redis_version") ?? "";
  const [major = 0, minor = 0] = text.split(".").map(Number);
  if (major >= 7) return ok(`Redis ${text}.`);
  if (major === 6 && minor >= 2) {
    return warning(`Redis ${text} works, and is no longer maintained.`, "Move to Redis 7 or newer.");
  }
  return failed(`Redis ${text} is too old.`, "Move to Redis 7 or newer; 6.2 is the oldest that works.");
}

async function permission(redis: RedisConnection, key: string, keyPrefix: string): Promise<Finding> {
  const steps = [
    ["SET", () => redis.client.set(key, "1", "PX", TRIAL_MS)],
    ["GET", () => redis.client.get(key)],
    ["EVAL", () => redis.client.eval("return redis.call('GET', KEYS[1])", 1, key)],
    ["PUBLISH", () => redis.client.publish(key, "1")],
    ["DEL", () => redis.client.del(key)],
  ] as const;
  for (const [command, send] of steps) {
    try {
      await send();
    } catch (error) {
      const { message } = error as Error;
      const remedy = message.startsWith("NOPERM")
        ? `As an administrator: ACL SETUSER <user> ~${keyPrefix}* &${keyPrefix}* +@all -@dangerous +info`
        : message.startsWith("OOM")
        ? "Redis is full: raise maxmemory."
        : "See Redis' own log.";
      return failed(`${command} under ${keyPrefix} is refused: ${message}.`, remedy);
    }
  }
  return ok(`SET, GET, EVAL, PUBLISH and DEL work under ${keyPrefix}.`);
}

function role(info: Info): Finding {
  if (info("role") !== "slave") return ok("The server is the primary.");
  return failed("The server is a replica and takes no writes.", "Name the primary in REDIS_URL.");
}

/** Nothing goes by Redis' clock, so that it never fails; a wrong one still tells of a machine without time service. */
async function skew(redis: RedisConnection, clock: Clock): Promise<Finding> {
  const { state, words } = judgeSkew(
    await skewOf(clock, async () => {
      const [seconds, micros] = await redis.ask("Cannot read the time", (client) => client.time());
      return Number(seconds) * 1000 + Number(micros) / 1000;
    }),
  );
  const message = `Redis' clock ${words}; nothing goes by it.`;
  return state === "ok" ? ok(message) : warning(message, "Run a time service (chrony) on both machines.");
}

/** The scaling guide: 10,000 by default, usually sufficient. */
function connections(info: Info, workers: number | null): Finding {
  const used = Number(info("connected_clients"));
  const most = info("maxclients");
  if (most === null) {
    return unknown(
      `${used} connections are in use; Redis does not say how many it allows.`,
      "redis-cli config get maxclients",
    );
  }
  const limit = Number(most);
  const words = `${used} of ${limit.toLocaleString("en")} connections are in use`;
  const wanted = (workers ?? 0) * CONNECTIONS_A_PROCESS + OTHER_CONNECTIONS;
  const remedy = "redis-cli config set maxclients 10000, and the same in redis.conf.";
  if (limit < Math.max(wanted, FEW_CONNECTIONS)) {
    const instances = Math.floor(limit / CONNECTIONS_A_PROCESS);
    return warning(`${words}, enough for ${instances} processes of Milvaion at most.`, remedy);
  }
  return used > limit * CROWDED ? warning(`${words}, more than four fifths.`, remedy) : ok(`${words}.`);
}

function eviction(info: Info): Finding {
  const policy = info("maxmemory_policy");
  if (policy === null) return unknown("Redis does not say its maxmemory-policy.", "It should be noeviction.");
  if (policy === "noeviction") return ok("Redis evicts no keys (noeviction).");
  return warning(
    `Redis may evict keys (maxmemory-policy ${policy}): the leader's lock or the due index can vanish at any time.`,
    "redis-cli config set maxmemory-policy noeviction, and the same in redis.conf.",
  );
}

function persistence(info: Info): Finding {
  if (info("loading") === "1") return warning("Redis is still loading its data.", "Wait, and look again.");
  if (info("aof_enabled") === "1") return ok("Redis keeps what it is told (appendonly).");
  return warning(
    "Redis forgets when it restarts (appendonly is off). Nothing is lost: the index is then built anew.",
    "redis-cli config set appendonly yes, and the same in redis.conf.",
  );
}
