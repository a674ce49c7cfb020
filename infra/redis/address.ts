/**
 * What REDIS_URL says: one server, a Redis Cluster, or a server that Sentinel keeps.
 *
 *   redis://user:password@host:6379/0                      one server
 *   redis+cluster://user:password@host:6379,host:6379      some nodes of a Redis Cluster; the others are found
 *   redis+sentinel://user:password@host:26379,host/name    the sentinels, and the name under which they know the
 *                                                          server; `?database=1` for another database
 *
 * `rediss` instead of `redis` is TLS, to nodes and sentinels alike. User and password are those of the servers;
 * sentinels have their own.
 */

export type RedisMode = "single" | "cluster" | "sentinel";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface RedisAddress {
  readonly mode: RedisMode;
  readonly isEncrypted: boolean;
  /** The server, nodes of the cluster, or the sentinels. */
  readonly endpoints: readonly Endpoint[];
  readonly user: string | null;
  readonly password: string | null;
  readonly database: number;
  /** The name that the sentinels know the server by; null without Sentinel. */
  readonly masterName: string | null;
}

const MODES: Readonly<Record<string, RedisMode>> = { "": "single", cluster: "cluster", sentinel: "sentinel" };
const USUAL_PORT = 6379;
const USUAL_SENTINEL_PORT = 26_379;

/** Follows the word "expected" in a refusal. */
export const EXPECTED_REDIS_URL =
  "redis://user:password@host:6379/0, redis+cluster://host:6379,host:6379,… " +
  "or redis+sentinel://host:26379,host:26379,…/name (rediss instead of redis for TLS)";

/** Throws a sentence that holds nothing of the text, which may be secret. */
export function parseRedisUrl(text: string): RedisAddress {
  const parts = /^(rediss?)(?:\+([a-z]+))?:\/\/([^/?#]*)([/?#].*)?$/i.exec(text.trim());
  const mode = MODES[parts?.[2]?.toLowerCase() ?? ""];
  if (parts === null || mode === undefined) {
    throw new Error("It begins with none of redis://, redis+cluster:// and redis+sentinel://.");
  }
  const [, scheme = "", , authority = "", rest = ""] = parts;
  const at = authority.lastIndexOf("@");
  const endpoints = endpointsOf(
    authority.slice(at + 1),
    mode === "sentinel" ? USUAL_SENTINEL_PORT : USUAL_PORT,
  );
  if (mode === "single" && endpoints.length > 1) {
    throw new Error("Several servers need redis+cluster:// or redis+sentinel://.");
  }
  const tail = URL.parse(`redis://host${rest}`);
  if (tail === null) throw new Error("What follows the hosts cannot be read.");
  const { user, password } = credentialsOf(authority.slice(0, Math.max(0, at)));
  return {
    mode,
    isEncrypted: scheme.toLowerCase() === "rediss",
    endpoints,
    user,
    password,
    ...targetOf(mode, decoded(tail.pathname.slice(1)), tail.searchParams),
  };
}

/** The endpoints without credentials, for people: `host:port, host:port`, and what they are. */
export function describeRedis({ mode, endpoints, masterName }: RedisAddress): string {
  const places = endpoints.map(placeOfEndpoint).join(", ");
  if (mode === "single") return places;
  return mode === "cluster" ? `Cluster ${places}` : `${masterName} by Sentinel ${places}`;
}

export function placeOfEndpoint({ host, port }: Endpoint): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** `host:port`, the host of a version 6 address with or without brackets; null when it is none. */
export function endpointOf(text: string, usualPort = USUAL_PORT): Endpoint | null {
  const parts = /^(?:\[([0-9a-f:.]+)\]|([^\s[\]@/]*?))(?::(\d+))?$/i.exec(text);
  const host = parts?.[1] ?? parts?.[2] ?? "";
  const port = Number(parts?.[3] ?? usualPort);
  return host === "" || port < 1 || port > 65_535 ? null : { host, port };
}

function endpointsOf(text: string, usualPort: number): readonly Endpoint[] {
  return text.split(",").map((one) => {
    const endpoint = endpointOf(one.trim(), usualPort);
    if (endpoint === null) throw new Error("A host is missing, or a port is none from 1 to 65535.");
    return endpoint;
  });
}

function credentialsOf(text: string): Pick<RedisAddress, "user" | "password"> {
  const colon = text.indexOf(":");
  const user = colon < 0 ? text : text.slice(0, colon);
  const password = colon < 0 ? "" : text.slice(colon + 1);
  return {
    user: user === "" ? null : decoded(user),
    password: password === "" ? null : decoded(password),
  };
}

/** Which database, and which server the sentinels are asked for. */
function targetOf(
  mode: RedisMode,
  path: string,
  query: URLSearchParams,
): Pick<RedisAddress, "database" | "masterName"> {
  const unknown = [...query.keys()].find((name) => mode !== "sentinel" || name !== "database");
  if (unknown !== undefined) {
    throw new Error(
      mode === "sentinel"
        ? "The only thing that may follow the name is ?database=…"
        : "Nothing may follow the address after a question mark.",
    );
  }
  if (mode === "sentinel") {
    if (!/^[A-Za-z0-9._-]+$/.test(path)) {
      throw new Error("After the sentinels stands /name: the name by which they know the server.");
    }
    return { database: databaseOf(query.get("database") ?? ""), masterName: path };
  }
  const database = databaseOf(path);
  if (mode === "cluster" && database !== 0) throw new Error("A Redis Cluster has database 0 only.");
  return { database, masterName: null };
}

function databaseOf(text: string): number {
  if (!/^\d{0,4}$/.test(text)) throw new Error("The database is no number.");
  return Number(text);
}

/** A percent sign that begins no escape stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
