/**
 * The servers and tools that tests need. `serverTest` registers a test that is left out, with its reason, where one
 * of them cannot be had; where `CI` is `true` it fails instead, because there everything is to be had.
 *
 * Tests share the servers named by MILVAION_TEST_DATABASE_URL, MILVAION_TEST_REDIS_URL and MILVAION_TEST_AMQP_URL
 * (the usual ports of this machine otherwise). They keep to a database, a vhost (or names with a prefix) and a key
 * prefix of their own, and neither stop nor configure what they share; tests that must do that start a server of
 * their own.
 */
import { Redis } from "ioredis";
import postgres from "postgres";
import { shell } from "./processes.ts";

const REACH_MS = 2000;

/** Addresses of the shared servers. */
export const SERVERS = {
  postgres: Deno.env.get("MILVAION_TEST_DATABASE_URL") ?? "postgres://postgres@127.0.0.1:5432",
  redis: Deno.env.get("MILVAION_TEST_REDIS_URL") ?? "redis://127.0.0.1:6379",
  amqp: Deno.env.get("MILVAION_TEST_AMQP_URL") ?? "amqp://guest:guest@127.0.0.1:5672",
} as const;

/** The shared servers, then programs that the test starts itself. */
export const NEEDS = [
  "postgres",
  "redis",
  "rabbitmq",
  "initdb",
  "psql",
  "redis-server",
  "rabbitmq-server",
  "rabbitmqctl",
  "nginx",
  "faketime",
  "unshare",
  "prlimit",
] as const;
export type Need = (typeof NEEDS)[number];

const missing = await findMissing();
const leftOut: string[] = [];

globalThis.addEventListener("unload", () => {
  if (leftOut.length > 0) {
    console.log(
      `Left out ${leftOut.length} ${leftOut.length === 1 ? "test" : "tests"}:\n${leftOut.join("\n")}`,
    );
  }
});

/** Why a need cannot be met, or null when it is. */
export function whyMissing(need: Need): string | null {
  return missing.get(need) ?? null;
}

/** Registers a test that needs servers or tools. */
export function serverTest(
  needs: readonly Need[],
  name: string,
  fn: (context: Deno.TestContext) => Promise<void> | void,
): void {
  const reasons = needs.flatMap((need) => whyMissing(need) ?? []);
  if (reasons.length === 0) {
    Deno.test(name, fn);
    return;
  }
  if (Deno.env.get("CI") === "true") {
    Deno.test(name, () => {
      throw new Error(`Cannot run: ${reasons.join("; ")}`);
    });
    return;
  }
  leftOut.push(`  ${name}: ${reasons.join("; ")}`);
  Deno.test({ name, fn, ignore: true });
}

/** A database of its own on a server (the shared one), dropped at the end with whoever is still connected. */
export async function temporaryDatabase(
  server: string = SERVERS.postgres,
): Promise<AsyncDisposable & { readonly url: string; readonly name: string }> {
  const name = `milvaion_test_${mark()}`;
  const url = new URL(server);
  url.pathname = `/${name}`;
  // template0: nobody can be connected to it, so that tests do not get into each other's way.
  await asAdministrator(server, `CREATE DATABASE ${name} TEMPLATE template0`);
  return {
    url: url.href,
    name,
    [Symbol.asyncDispose]: () => asAdministrator(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

/** A vhost of its own on the shared RabbitMQ, deleted at the end with its connections. Needs `rabbitmqctl`. */
export async function temporaryVhost(): Promise<
  AsyncDisposable & { readonly url: string; readonly name: string }
> {
  const name = `milvaion-test-${mark()}`;
  const url = new URL(SERVERS.amqp);
  url.pathname = `/${encodeURIComponent(name)}`;
  const user = decodeURIComponent(url.username);
  // In one call: each takes a second or more, most of it to start rabbitmqctl itself.
  const all = { configure: ".*", write: ".*", read: ".*" };
  const definitions = { vhosts: [{ name }], permissions: [{ user, vhost: name, ...all }] };
  await shell('printf %s "$1" | rabbitmqctl --quiet import_definitions', JSON.stringify(definitions));
  return {
    url: url.href,
    name,
    [Symbol.asyncDispose]: async () => {
      await shell('rabbitmqctl --quiet delete_vhost "$1"', name);
    },
  };
}

/** A prefix for keys on a Redis (the shared one); what begins with it is deleted at the end. */
export function temporaryPrefix(
  server: string = SERVERS.redis,
): AsyncDisposable & { readonly url: string; readonly prefix: string } {
  const prefix = `Milvaion:Test:${mark()}:`;
  return { url: server, prefix, [Symbol.asyncDispose]: () => deleteKeys(server, prefix) };
}

async function deleteKeys(server: string, prefix: string): Promise<void> {
  const redis = new Redis(server, { commandTimeout: REACH_MS, maxRetriesPerRequest: 1 });
  redis.on("error", () => {}); // the commands below fail with it
  try {
    let cursor = "0";
    do {
      const [next, keys] = await redis.scan(cursor, "MATCH", `${prefix}*`, "COUNT", 1000);
      if (keys.length > 0) await redis.unlink(keys);
      cursor = next;
    } while (cursor !== "0");
    // Awaited to its end: the test's sanitizers see a connection that is still closing.
    const ended = new Promise((resolve) => redis.once("end", resolve));
    await redis.quit();
    await ended;
  } finally {
    if (redis.status !== "end") redis.disconnect();
  }
}

async function asAdministrator(server: string, statement: string): Promise<void> {
  const url = new URL(server);
  if (url.pathname === "" || url.pathname === "/") url.pathname = "/postgres";
  const sql = postgres(url.href, { max: 1, onnotice: () => {}, connect_timeout: 5 });
  try {
    await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** Twelve letters and digits that nobody else uses. */
function mark(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(-12);
}

async function findMissing(): Promise<ReadonlyMap<Need, string>> {
  const found = new Map<Need, string>();
  const shared: readonly (readonly [Need, string, number])[] = [
    ["postgres", SERVERS.postgres, 5432],
    ["redis", SERVERS.redis, 6379],
    ["rabbitmq", SERVERS.amqp, 5672],
  ];
  await Promise.all(shared.map(async ([need, address, usualPort]) => {
    const { hostname, port } = new URL(address);
    const reason = await reach(hostname, port === "" ? usualPort : Number(port));
    if (reason !== null) found.set(need, `${need} cannot be reached: ${reason}`);
  }));
  const programs = NEEDS.slice(shared.length);
  const there = await shell('for one in "$@"; do command -v "$one" || true; done', ...programs)
    .catch(() => ""); // no sh (Windows): none of them
  const names = new Set(there.split("\n").map((path) => path.slice(path.lastIndexOf("/") + 1)));
  for (const program of programs) {
    if (!names.has(program)) found.set(program, `${program} is not installed`);
  }
  if (found.has("initdb") && await postgresPrograms() !== null) found.delete("initdb");
  return found;
}

/** Where PostgreSQL's own programs are (`initdb`, `postgres`): on PATH, or where Debian puts them. Null: nowhere. */
export async function postgresPrograms(): Promise<string | null> {
  // Of several versions the last; a link on PATH is followed, because the server looks for its files beside itself.
  const path = await shell(
    'initdb=$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -1); readlink -f "$initdb"',
  ).catch(() => "");
  return path === "" ? null : path.slice(0, path.lastIndexOf("/"));
}

async function reach(hostname: string, port: number): Promise<string | null> {
  try {
    const connection = await Deno.connect({ hostname, port, signal: AbortSignal.timeout(REACH_MS) });
    connection.close();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
