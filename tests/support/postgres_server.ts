/**
 * A PostgreSQL of one's own: on a free port, in a temporary folder, to be stopped, killed and frozen at will, and
 * started again on the same port and data. It keeps commit timestamps, so that a witness can tell the order of
 * commits.
 */
import { delay } from "@std/async";
import postgres from "postgres";
import { allGone, familyOf, shell, signalAll } from "./processes.ts";
import { freePort } from "./free_port.ts";
import { postgresPrograms } from "./servers.ts";

const START_MS = 30_000;

/** `smart` waits until all clients have gone, `fast` ends them in order, `immediate` leaves recovery to the next start. */
const STOP_SIGNALS = { smart: "SIGTERM", fast: "SIGINT", immediate: "SIGQUIT" } as const;
export type StopMode = keyof typeof STOP_SIGNALS;

export interface PostgresOptions {
  /** As in postgresql.conf: `{ max_connections: "20" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

const SETTINGS: Readonly<Record<string, string>> = {
  // A killed server loses nothing of what it gave to the kernel: only a killed machine would.
  fsync: "off",
  track_commit_timestamp: "on",
  listen_addresses: "127.0.0.1",
  shared_buffers: "32MB",
  max_connections: "100",
};

export class PostgresServer implements AsyncDisposable {
  #process: Deno.ChildProcess | null = null;
  #frozen: readonly number[] = [];

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly programs: string,
    private readonly settings: Readonly<Record<string, string>>,
  ) {}

  /** Starts a server and waits until it answers. */
  static start(options: PostgresOptions = {}): Promise<PostgresServer> {
    return PostgresServer.#startOn(options, async (folder, programs) => {
      await shell('cp -a "$1" "$2/data"', await template(programs), folder);
    });
  }

  /** Starts a read replica of a running server, by streaming, and waits until it answers. */
  static replicaOf(primary: PostgresServer, options: PostgresOptions = {}): Promise<PostgresServer> {
    return PostgresServer.#startOn(options, async (folder, programs) => {
      await asOwner(
        'exec "$1/pg_basebackup" -h 127.0.0.1 -p "$3" -U postgres -D "$2/data" -X stream -c fast -R --no-sync',
        programs,
        folder,
        String(primary.port),
      );
    });
  }

  static async #startOn(
    options: PostgresOptions,
    fill: (folder: string, programs: string) => Promise<void>,
  ): Promise<PostgresServer> {
    const programs = await postgresPrograms();
    if (programs === null) throw new Error("Cannot start PostgreSQL: initdb is not installed");
    // Not under a longer path: a socket's name must fit in 107 bytes.
    const folder = await Deno.makeTempDir({ dir: "/tmp", prefix: "milvaion-postgres-" });
    const server = new PostgresServer(freePort(), folder, programs, { ...SETTINGS, ...options.settings });
    try {
      if (owner !== null) await Deno.chown(folder, owner.uid, owner.gid);
      await fill(folder, programs);
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Address of the database `postgres`, as its superuser. */
  get url(): string {
    return this.urlOf("postgres");
  }

  urlOf(database: string): string {
    return `postgres://postgres@127.0.0.1:${this.port}/${database}`;
  }

  /** Makes a database and gives its address. */
  async createDatabase(name: string): Promise<string> {
    await this.sql(`CREATE DATABASE ${name} TEMPLATE template0`);
    return this.urlOf(name);
  }

  /** Runs statements as superuser over a connection of their own; gives the rows of the last. */
  async sql(text: string, database = "postgres"): Promise<readonly Record<string, unknown>[]> {
    const sql = postgres(this.urlOf(database), { max: 1, onnotice: () => {}, connect_timeout: 5 });
    try {
      return await sql.unsafe(text);
    } finally {
      await sql.end({ timeout: 5 });
    }
  }

  /** Starts it (again), on the same port and data, and waits until it answers. */
  async start(): Promise<void> {
    if (this.#process !== null) return;
    const settings = Object.entries({ ...this.settings, port: String(this.port) })
      .flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    this.#process = new Deno.Command("sh", {
      args: [
        "-c",
        'programs=$1; folder=$2; shift 2; cd "$folder"; ' +
        'exec "$programs/postgres" -D data -k "$folder" "$@" >>output.txt 2>&1',
        "sh",
        this.programs,
        this.folder,
        ...settings,
      ],
      ...owner ?? {},
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let hasEnded = false;
    this.#process.status.then(() => hasEnded = true);
    const until = performance.now() + START_MS;
    while (!await this.#answers()) {
      if (hasEnded || performance.now() > until) {
        const output = await Deno.readTextFile(`${this.folder}/output.txt`).catch(() => "(it said nothing)");
        throw new Error(`PostgreSQL does not start: ${output.slice(-2000)}`);
      }
      await delay(20);
    }
  }

  /** Ends it in order, and waits until it has gone. */
  async stop(mode: StopMode = "fast"): Promise<void> {
    const process = this.#process;
    if (process === null) return;
    this.#process = null;
    await this.resume();
    process.kill(STOP_SIGNALS[mode]);
    await process.status;
  }

  /** SIGKILL to it and all its processes: as a crash. */
  async kill(): Promise<void> {
    const process = this.#process;
    if (process === null) return;
    this.#process = null;
    this.#frozen = [];
    const family = await familyOf(process.pid);
    await signalAll(family, "KILL");
    await process.status;
    await allGone(family);
  }

  /** SIGSTOP to all its processes: connections stay open, nothing answers. */
  async pause(): Promise<void> {
    if (this.#process === null) return;
    // The parent first: it makes no more children then.
    this.#process.kill("SIGSTOP");
    this.#frozen = await familyOf(this.#process.pid);
    await signalAll(this.#frozen, "STOP");
  }

  async resume(): Promise<void> {
    const frozen = this.#frozen;
    this.#frozen = [];
    await signalAll([...frozen].reverse(), "CONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true });
  }

  async #answers(): Promise<boolean> {
    try {
      await this.sql("SELECT 1");
      return true;
    } catch {
      return false;
    }
  }
}

/** PostgreSQL refuses to run as root: then it runs as the user that its package made. Null: as who we are. */
const owner = Deno.build.os !== "windows" && Deno.uid() === 0 ? await userPostgres() : null;

async function userPostgres(): Promise<{ readonly uid: number; readonly gid: number } | null> {
  const users = await Deno.readTextFile("/etc/passwd").catch(() => "");
  const [, , uid, gid] = users.split("\n").find((line) => line.startsWith("postgres:"))?.split(":") ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}

let made: Promise<string> | null = null;

/** An empty cluster of databases, made once in this process; starting from a copy takes a tenth of the time. */
function template(programs: string): Promise<string> {
  made ??= makeTemplate(programs);
  return made;
}

async function makeTemplate(programs: string): Promise<string> {
  const folder = await Deno.makeTempDir({ dir: "/tmp", prefix: "milvaion-postgres-template-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  if (owner !== null) await Deno.chown(folder, owner.uid, owner.gid);
  await asOwner(
    'exec "$1/initdb" -D "$2/data" --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C',
    programs,
    folder,
  );
  return `${folder}/data`;
}

/** Runs a line of shell as the user that servers run as; `$1` is where the programs are, `$2` the folder. */
async function asOwner(script: string, programs: string, folder: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("sh", {
    args: ["-c", `cd "$2"; ${script}`, "sh", programs, folder, ...args],
    ...owner ?? {},
    stdin: "null",
    stdout: "null",
  }).output();
  if (!success) {
    throw new Error(`Cannot fill a folder of PostgreSQL: ${new TextDecoder().decode(stderr).trim()}`);
  }
}
