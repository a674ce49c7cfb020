/** A Redis that Sentinel keeps: a master, replicas and three sentinels of one's own, on free ports. */
import { freePort } from "./free_port.ts";
import { until } from "./program.ts";
import { RedisServer } from "./redis_server.ts";

/** After this time without an answer the master counts as down. Milliseconds. */
export const DOWN_AFTER_MS = 1000;
const SENTINELS = 3;
const QUORUM = 2;
/** A vote that was split is repeated after twice this time, and replicas that follow nobody are given up. */
const FAILOVER_TIMEOUT_MS = 5000;

export interface RedisSentinelOptions {
  readonly replicas?: number;
  /** Of the servers. */
  readonly password?: string;
  /** Of the sentinels. */
  readonly sentinelPassword?: string;
  readonly failoverTimeoutMs?: number;
  /** Further arguments of each server. */
  readonly args?: readonly string[];
}

export class RedisSentinelServers implements AsyncDisposable {
  private constructor(
    /** The first one was the master in the beginning. */
    readonly servers: readonly RedisServer[],
    readonly sentinels: readonly RedisServer[],
    private readonly options: RedisSentinelOptions,
  ) {}

  /**
   * Starts all of them, and waits until the replicas have copied the master and each sentinel knows them and the other
   * sentinels.
   */
  static async start(options: RedisSentinelOptions = {}): Promise<RedisSentinelServers> {
    const { replicas = 1, password, sentinelPassword, failoverTimeoutMs = FAILOVER_TIMEOUT_MS } = options;
    await using stack = new AsyncDisposableStack();
    const secrets = password === undefined ? [] : ["--requirepass", password, "--masterauth", password];
    const start = async (args: readonly string[]) =>
      stack.use(
        await RedisServer.start({
          args: ["--repl-diskless-sync-delay", "0", ...secrets, ...args, ...options.args ?? []],
          ...(password === undefined ? {} : { password }),
        }),
      );
    const master = await start([]);
    const others = await Promise.all(
      Array.from({ length: replicas }, () => start(["--replicaof", "127.0.0.1", String(master.port)])),
    );
    const sentinels = await Promise.all(Array.from({ length: SENTINELS }, async () =>
      stack.use(
        await RedisServer.start({
          port: freePort(),
          sentinel: [
            `sentinel monitor main 127.0.0.1 ${master.port} ${QUORUM}`,
            `sentinel down-after-milliseconds main ${DOWN_AFTER_MS}`,
            `sentinel failover-timeout main ${failoverTimeoutMs}`,
            ...(password === undefined ? [] : [`sentinel auth-pass main ${JSON.stringify(password)}`]),
            ...(sentinelPassword === undefined
              ? []
              : [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]),
          ],
          ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
        }),
      )));
    const opened = new RedisSentinelServers([master, ...others], sentinels, options);
    await Promise.all(others.map((replica) =>
      until(
        async () => (await replica.cli("info", "replication")).includes("master_link_status:up"),
        "a replica has copied its master",
      )
    ));
    await Promise.all(sentinels.map((sentinel) =>
      until(async () => {
        const said = await reportOf(sentinel);
        return said("num-slaves") === String(replicas) &&
          said("num-other-sentinels") === String(SENTINELS - 1) && said("flags") === "master";
      }, "a sentinel knows all others")
    ));
    stack.move();
    return opened;
  }

  get url(): string {
    const { password } = this.options;
    const credentials = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
    const places = this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",");
    return `redis+sentinel://${credentials}${places}/main`;
  }

  /** The server that the sentinels name now. */
  async master(): Promise<RedisServer> {
    const sentinel = this.sentinels.find((one) => one.isRunning);
    const [, port] = (await sentinel?.cli("sentinel", "get-master-addr-by-name", "main") ?? "").split("\n");
    const found = this.servers.find((server) => server.port === Number(port));
    if (found === undefined) throw new Error(`the sentinels name a server that nobody started: ${port}`);
    return found;
  }

  /** Waits until the sentinels name another server than this one, and gives it. */
  async masterAfter(previous: RedisServer): Promise<RedisServer> {
    return await until(async () => {
      const now = await this.master();
      return now === previous ? null : now;
    }, "Sentinel promotes a replica");
  }

  /** Whether a sentinel still leads the replicas to a new master; to itself the old one is the master until then. */
  async isFailingOver(): Promise<boolean> {
    const reports = await Promise.all(this.sentinels.map(reportOf));
    return reports.some((said) => said("flags")?.includes("failover_in_progress"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.sentinels, ...this.servers].map((one) => one[Symbol.asyncDispose]()));
  }
}

/** What a sentinel says about the master, by name. */
async function reportOf(sentinel: RedisServer): Promise<(name: string) => string | undefined> {
  const said = await sentinel.cli("sentinel", "master", "main");
  return (name) => new RegExp(`^${name}\\n(.*)$`, "m").exec(said)?.[1];
}
