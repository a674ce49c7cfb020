/** The real program, started wrongly: each start ends with its exit code and a line that helps, and opens nothing. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { taskCommand } from "../tests/support/program.ts";
import { lockDataFolder, networkFileSystem } from "./embedded/data_folder.ts";

const ROOT = new URL("../", import.meta.url);

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs `main.ts` with the permissions of `deno task run`, in an environment that holds only what is given. */
async function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  limits = "",
): Promise<Ended> {
  const flags = (await taskCommand("run")).slice(0, -1);
  const kept: Record<string, string> = {};
  for (const name of ["PATH", "HOME", "DENO_DIR"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) kept[name] = value;
  }
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", `${limits} exec "$0" "$@"`, Deno.execPath(), ...flags, ...args],
    cwd: ROOT,
    clearEnv: true,
    env: { ...kept, NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), error: text(stderr) };
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-start-" });
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function isEmpty(folder: string): Promise<boolean> {
  return (await Array.fromAsync(Deno.readDir(folder))).length === 0;
}

function inDatabase<T>(path: string, work: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(path);
  try {
    return work(database);
  } finally {
    database.close();
  }
}

Deno.test("B38 the program ends with 78 and names each wrong key, before it touches its folder", async () => {
  await inFolder(async (folder) => {
    const { code, out, error } = await start(["run", "--data-dir", folder], {
      PORT: "many",
      Worker__MaxParalelJobs: "5",
    });
    assertEquals([code, out], [78, ""]);
    assertMatch(
      error,
      /MilvaionConfig\.Api\.Port \(PORT\): got "many", expected a whole number from 0 to 65535/,
    );
    assertMatch(error, /Did you mean Worker__MaxParallelJobs\?/);
    assert(await isEmpty(folder));
  });
});

Deno.test("B39 the program ends with 78 when it would listen for everyone without a token", async () => {
  await inFolder(async (folder) => {
    const { code, error } = await start(["run", "--data-dir", folder, "--host", "0.0.0.0"]);
    assertEquals(code, 78);
    assertMatch(error, /MilvaionConfig\.Api\.Token: got none, expected a token.*MILVAION_API_TOKEN/);
    assert(await isEmpty(folder));
  });
});

Deno.test("B44 an unknown command ends with 64 and the nearest one", async () => {
  const { code, out, error } = await start(["rnu"]);
  assertEquals([code, out, error], [64, "", "error: There is no command rnu\nhint: Did you mean run?\n"]);
});

Deno.test("a part of a cluster without its servers says which it needs, and ends with 78", async () => {
  const api = await start(["api"]);
  assertEquals(api.code, 78);
  assertMatch(api.error, /`api` is a part of a cluster and needs DATABASE_URL, REDIS_URL, AMQP_URL/);
  const named = await start(["run"], { DATABASE_URL: "postgres://me:hunter2@db/x" });
  assertEquals(named.code, 78);
  assertMatch(named.error, /`run` on DATABASE_URL also needs REDIS_URL and AMQP_URL/);
  assert(!named.error.includes("hunter2"));
});

Deno.test("B42 migrate brings a folder to the newest schema, and --dry-run only says so", async () => {
  await inFolder(async (folder) => {
    const planned = await start(["migrate", "--dry-run", "--data-dir", folder]);
    assertEquals(planned.code, 0, planned.error);
    assertMatch(planned.out, /milvaion\.db: would be brought from schema version 0 to \d+/);
    const done = await start(["migrate", "--data-dir", folder]);
    assertEquals(done.code, 0, done.error);
    assertMatch(done.out, /milvaion\.db: brought from schema version 0 to \d+/);
    const again = await start(["migrate", "--data-dir", folder]);
    assertEquals(again.code, 0, again.error);
    assertMatch(again.out, /milvaion\.db: schema version \d+ is the newest/);
  });
});

Deno.test("B42 a schema that is newer than the program ends with 78, names both versions, and stays", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "milvaion.db");
    inDatabase(path, (database) => database.exec("PRAGMA user_version = 99"));
    for (const args of [["run", "--port", "0"], ["migrate"]]) {
      const { code, error } = await start([...args, "--data-dir", folder]);
      assertEquals(code, 78, error);
      assertMatch(error, /milvaion\.db has schema version 99, and this program knows versions up to \d+/);
    }
    const version = inDatabase(path, (database) => database.prepare("PRAGMA user_version").get());
    assertEquals(version?.["user_version"], 99);
  });
});

Deno.test("B42 of two programs that would migrate at once, one is told who the other is", async () => {
  await inFolder(async (folder) => {
    const locked = lockDataFolder(folder);
    try {
      const { code, error } = await start(["migrate", "--data-dir", folder]);
      assertEquals(code, 78);
      assertMatch(error, new RegExp(`in use by the process ${Deno.pid}\\.`));
    } finally {
      locked.release();
    }
  });
});

Deno.test("B54 a folder that another process works on ends with 78 and names that process", async () => {
  await inFolder(async (folder) => {
    const locked = lockDataFolder(folder);
    try {
      const { code, error } = await start(["run", "--port", "0", "--data-dir", folder]);
      assertEquals(code, 78);
      assert(error.includes(folder));
      assertMatch(error, new RegExp(`in use by the process ${Deno.pid}\\. Stop that one first`));
    } finally {
      locked.release();
    }
  });
});

Deno.test("B54 a folder that cannot be written ends with 78 and names the folder", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "file");
    await Deno.writeTextFile(file, "");
    const below = join(file, "data");
    const { code, error } = await start(["run", "--port", "0", "--data-dir", below]);
    assertEquals(code, 78, error);
    assert(error.startsWith(`error: Cannot write to the data folder ${below}: `), error);
  });
});

/** Ways in which `milvaion.db` may be damaged. */
const DAMAGES: readonly (readonly [name: string, damage: (path: string, folder: string) => Promise<void>])[] =
  [
    ["is no database", (path) => Deno.writeTextFile(path, "This is no database. ".repeat(500))],
    ["has lost its tables", async (path, folder) => {
      assertEquals((await start(["migrate", "--data-dir", folder])).code, 0);
      const bytes = await Deno.readFile(path);
      // The header stays, so that it opens; what lies behind it does not.
      bytes.fill(0xa5, 4096);
      await Deno.writeFile(path, bytes);
    }],
  ];

for (const [name, damage] of DAMAGES) {
  Deno.test(`B54 a file that ${name} ends with 78, is named, and is left as it was`, async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "milvaion.db");
      await damage(path, folder);
      const before = await Deno.readFile(path);
      const { code, error } = await start(["run", "--port", "0", "--data-dir", folder]);
      assertEquals(code, 78, error);
      assert(error.includes(path), error);
      assertEquals(await Deno.readFile(path), before);
    });
  });

  Deno.test({
    name: `B54 a file that ${name} ends with the way to save what can be read`,
    fn: () =>
      inFolder(async (folder) => {
        await damage(join(folder, "milvaion.db"), folder);
        const { error } = await start(["run", "--port", "0", "--data-dir", folder]);
        assertMatch(error, /milvaion\.db is damaged .*Nothing was changed\..*\.recover/);
      }),
  });
}

Deno.test("B54 network file systems are known by their numbers", () => {
  assertEquals([networkFileSystem(0x6969), networkFileSystem(0xef53)], ["NFS", null]);
  // statfs(2) gives 32 bits, which some systems read as a negative number.
  assertEquals(networkFileSystem(0xff534d42 | 0), "CIFS");
});

Deno.test("B56 a machine with too few open files ends with 78 and the minimum", async () => {
  await inFolder(async (folder) => {
    const { code, error } = await start(["run", "--port", "0", "--data-dir", folder], {}, "ulimit -n 64;");
    assertEquals(code, 78, error);
    assertMatch(error, /open files: got room for \d+ more, expected at least 128\. Raise the limit/);
    assert(await isEmpty(folder));
  });
});

Deno.test("B56 TZ=Mars and LANG=C do not stop a command", async () => {
  const { code, out } = await start(["version"], { TZ: "Mars", LANG: "C" });
  assertEquals(code, 0);
  assertMatch(out, /^milvaion \d+\.\d+\.\d+ \(Deno \d/);
});
