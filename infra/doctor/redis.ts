/** Redis, each server that holds keys, looked at with trial keys that go again within seconds. */
import type { Clock, Random } from "../../actors/ports/clock.ts";
import type { WorkerInstance } from "../../actors/ports/presence.ts";
import type { Redis } from "ioredis";
import { parseRedisUrl, placeOfEndpoint, type RedisAddress } from "../redis/address.ts";
import { RedisCluster } from "../redis/cluster.ts";
import { refusalOf, type SentinelCredentials } from "../redis/connection.ts";
import { RedisKeys } from "../redis/keys.ts";
import type { RedisLink } from "../redis/link.ts";
import { readLoad } from "../redis/node_load.ts";
import { RedisPresence } from "../redis/presence.ts";
import { openLink, partitionsOn } from "../redis/redis.ts";
import type { RedisSentinels } from "../redis/sentinels.ts";
import {
  type Check,
  CONNECT_MS,
  type Examination,
  failed,
  type Finding,
  ok,
  unknown,
  warning,
} from "./check.ts";
import { coverage, load, sentinelQuorum, slots } from "./redis_topology.ts";
import { redisDisk, redisRoom } from "./disk.ts";
import { encryption, judgeSkew, type ServerAddress, skewOf } from "./server_address.ts";

/** How Redis is configured. */
export interface RedisPlace {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** `MilvaionConfig.Redis.KeyPrefix`. */
  readonly keyPrefix: string;
  /** Of the due index; absent where nobody says. */
  readonly partitions?: number | undefined;
}

export interface RedisQuestions extends RedisPlace {
  readonly clock: Clock;
  readonly random: Random;
  /** Worker processes, as far as known; asked once. */
  readonly workers: () => Promise<number | null>;
  /** Whether memory and disk are looked at for more than what is there now. */
  readonly hasDiskCheck?: boolean;
}

/** What was reached. */
interface RedisProbe {
  readonly link: RedisLink;
  readonly sentinels: RedisSentinels | null;
}

const TRIAL_MS = 10_000;
const CONNECTIONS_A_PROCESS = 3;
/** API instances and other clients, besides the workers. */
const OTHER_CONNECTIONS = 50;
const FEW_CONNECTIONS = 1000;
const CROWDED = 0.8;

export function redisExamination(questions: RedisQuestions): Examination<RedisProbe> {
  const { url, clock, random, keyPrefix, workers } = questions;
  const address = parseRedisUrl(url);
  const place = placeOf(address);
  return {
    subject: "Redis",
    reach: () => reachRedis(questions, clock),
    explain: (error) => explainFailure(error, place, address),
    checks: [
      { name: "reachable", look: ({ link }) => reachable(link) },
      ...topologyChecks(questions, address),
      ...eachServer("server", { version }),
      {
        name: "permission",
        look: ({ link }) => permission(link, `${keyPrefix}doctor:${random.uuid()}`, keyPrefix),
      },
      ...eachServer("replication", { role }),
      { name: "clock", look: ({ link }) => skew(link, clock) },
      {
        name: "connections",
        look: async ({ link }) => {
          const known = await workers();
          return worstOf(await readInfo(link, "clients"), (info) => connections(info, known));
        },
      },
      ...eachServer("memory", { eviction }),
      ...eachServer("persistence", { persistence }),
      ...(questions.hasDiskCheck === true
        ? [...eachServer("memory", { room: redisRoom }), ...eachServer("persistence", { disk: redisDisk })]
        : []),
      {
        name: "encryption",
        look: () =>
          encryption(place, address.isEncrypted, "Use rediss:// in REDIS_URL, and TLS on the server."),
      },
    ],
    leave: leaveRedis,
  };
}

/** What only several servers have. */
function topologyChecks(
  { partitions }: RedisQuestions,
  { mode }: RedisAddress,
): readonly Check<RedisProbe>[] {
  if (mode === "cluster") {
    const onCluster = (look: (cluster: RedisCluster) => Promise<Finding>) => ({ link }: RedisProbe) =>
      link instanceof RedisCluster ? look(link) : unknown("It is no cluster.");
    return [
      { name: "slots", look: onCluster(slots) },
      { name: "coverage", look: onCluster(coverage) },
      {
        name: "load",
        look: async ({ link }) => load(await readLoad(link), partitions ?? partitionsOn(link)),
      },
    ];
  }
  if (mode === "single") return [];
  return [{
    name: "sentinels",
    look: ({ sentinels }) => sentinels === null ? unknown("There are none.") : sentinelQuorum(sentinels),
  }];
}

/** Checks of what each server says in a section of INFO; the worst finding counts. */
function eachServer(
  section: string,
  judges: Readonly<Record<string, (info: Info) => Finding>>,
): readonly Check<RedisProbe>[] {
  return Object.entries(judges).map(([name, judge]) => ({
    name,
    look: async ({ link }) => worstOf(await readInfo(link, section), judge),
  }));
}

/** Rejects with what the first attempts to connect said. */
export async function reachRedis(
  place: Pick<RedisPlace, "url" | "sentinel">,
  clock: Pick<Clock, "timer" | "mono">,
): Promise<RedisProbe> {
  const { url, sentinel } = place;
  const probe = openLink({ url, sentinel, name: "milvaion-doctor", timeoutMs: CONNECT_MS, clock });
  const { link } = probe;
  const isSole = parseRedisUrl(url).mode === "single";
  const failure = await new Promise<string | null>((resolve) => {
    // Of several servers the one that fails first may not be one that matters.
    const cancel = clock.timer(
      CONNECT_MS,
      () => resolve(link.isReady ? null : link.lastError ?? `no answer within ${CONNECT_MS / 1000} s`),
    );
    link.onChange((isReady) => {
      if (!link.isWhole && !(isSole && !isReady)) return;
      cancel();
      resolve(isReady ? null : link.lastError ?? "the connection was closed");
    });
  });
  if (failure === null) return probe;
  await leaveRedis(probe);
  throw new Error(failure);
}

export async function leaveRedis({ link, sentinels }: RedisProbe): Promise<void> {
  await Promise.all([link.close(), sentinels?.close()]);
}

/** Who announces itself in Redis; a few that went without a word may be among them. */
export async function readInstances(
  link: RedisLink,
  options: { readonly keyPrefix: string; readonly storeId: string; readonly clock: Clock },
): Promise<readonly WorkerInstance[]> {
  const { keyPrefix, storeId, clock } = options;
  // For ever: this machine's clock may be the one that is wrong.
  return await new RedisPresence(link, new RedisKeys(keyPrefix, storeId), clock, Infinity).list();
}

type Info = (name: string) => string | null;

/** A section of INFO of each server, by place; rejects where the user may not ask. */
async function readInfo(link: RedisLink, section: string): Promise<ReadonlyMap<string, Info>> {
  const answers = await link.askEach(
    `Cannot read INFO ${section}`,
    (client) => client.info(section),
    "connected",
  );
  return new Map(answers.map(({ place, answer }) => {
    const values = new Map(
      answer.split("\r\n").map((line) => {
        const at = line.indexOf(":");
        return [line.slice(0, at), line.slice(at + 1)] as const;
      }),
    );
    return [place, (name: string) => values.get(name) ?? null];
  }));
}

const BY_GRAVITY = ["failed", "warning", "unknown", "ok"] as const;

/** The worst finding, with the servers that it is about where there are several. */
function worstOf(infos: ReadonlyMap<string, Info>, judge: (info: Info) => Finding): Finding {
  const findings = [...infos].map(([place, info]) => ({ place, ...judge(info) }));
  const state = BY_GRAVITY.find((one) => findings.some((finding) => finding.state === one));
  const worst = findings.filter((finding) => finding.state === state);
  const [first] = worst;
  if (first === undefined) return unknown("No server answered.");
  const { message, nextStep } = first;
  if (infos.size === 1) return { state: first.state, message, nextStep };
  const areAlike = worst.every((finding) => finding.message === message);
  const places = worst.map(({ place }) => place).join(", ");
  return {
    state: first.state,
    message: areAlike
      ? `${worst.length === infos.size ? `All ${infos.size} masters` : places}: ${message}`
      : worst.map((finding) => `${finding.place}: ${finding.message}`).join(" "),
    nextStep,
  };
}

function placeOf({ mode, endpoints, isEncrypted: _, user, password }: RedisAddress): ServerAddress {
  const places = endpoints.map(placeOfEndpoint);
  return {
    place: mode === "sentinel" ? `Sentinel at ${places.join(", ")}` : places.join(", "),
    host: endpoints[0]?.host ?? "",
    user: user ?? "",
    password: password ?? "",
    isLoopback: endpoints.every(({ host }) => /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)),
  };
}

async function reachable(link: RedisLink): Promise<Finding> {
  const answers = await link.askEach("Cannot reach Redis", (client) => client.ping(), "connected");
  const words = `${answers.map(({ place }) => place).join(", ")} ${
    answers.length === 1 ? "answers" : "answer"
  }`;
  if (link.isWhole) return ok(`${words}.`);
  return warning(
    `${words}, another master does not: ${link.lastError ?? "it is being connected to"}.`,
    "Start that node again. Until then its keys are away, and the leader works on from the store.",
  );
}

function explainFailure({ message }: Error, { place }: ServerAddress, { mode }: RedisAddress): Finding {
  if (/WRONGPASS|NOAUTH|\bAUTH\b/.test(message)) {
    const isSentinels = mode === "sentinel" && message.startsWith("sentinel ");
    return failed(
      `${place} refuses the user: ${message}.`,
      isSentinels
        ? "Check REDIS_SENTINEL_PASSWORD and REDIS_SENTINEL_USER."
        : "Check user and password of REDIS_URL.",
    );
  }
  if (/max number of clients/.test(message)) {
    return failed(
      `${place} has no connection left: ${message}.`,
      "Raise maxclients of Redis, 10,000 by default.",
    );
  }
  if (/No such master/.test(message)) {
    return failed(`${place}: ${message}.`, "Check the name at the end of REDIS_URL: redis+sentinel://…/name");
  }
  if (/cluster support disabled/.test(message)) {
    return failed(`${place} is no cluster: ${message}.`, "Use redis:// in REDIS_URL for one server.");
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

async function permission(link: RedisLink, key: string, keyPrefix: string): Promise<Finding> {
  const ask = (command: (client: Redis) => Promise<unknown>) => link.ask("Cannot try", key, command);
  const steps = [
    ["SET", () => ask((client) => client.set(key, "1", "PX", TRIAL_MS))],
    ["GET", () => ask((client) => client.get(key))],
    ["EVAL", () => ask((client) => client.eval("return redis.call('GET', KEYS[1])", 1, key))],
    ["PUBLISH", () => ask((client) => client.publish(key, "1"))],
    ["DEL", () => ask((client) => client.del(key))],
  ] as const;
  for (const [command, send] of steps) {
    try {
      await send();
    } catch (error) {
      const { cause } = error as Error;
      const message = refusalOf(cause instanceof Error ? cause : error as Error);
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
async function skew(link: RedisLink, clock: Clock): Promise<Finding> {
  const { state, words } = judgeSkew(
    await skewOf(clock, async () => {
      const [seconds, micros] = await link.ask("Cannot read the time", null, (client) => client.time());
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
