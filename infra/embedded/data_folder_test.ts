import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DataFolderError, lockDataFolder, networkFileSystem } from "./data_folder.ts";

async function within(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-folder-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function refusal(folder: string): DataFolderError {
  return assertThrows(() => lockDataFolder(folder), DataFolderError);
}

/** A process that holds the lock until it is killed. */
async function holder(folder: string): Promise<Deno.ChildProcess> {
  const module = import.meta.resolve("./data_folder.ts");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--allow-read", "--allow-write", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const script = `import { lockDataFolder } from ${JSON.stringify(module)};
    lockDataFolder(${JSON.stringify(folder)});
    console.log("locked");
    setInterval(() => {}, 1000);`;
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const reader = child.stdout.getReader();
  assertEquals(new TextDecoder().decode((await reader.read()).value).trim(), "locked");
  await reader.cancel();
  return child;
}

Deno.test("creates the folder when it is missing, for its owner only", () =>
  within((parent) => {
    const folder = `${parent}/a/b`;
    lockDataFolder(folder).release();
    assertEquals((Deno.statSync(folder).mode ?? 0) & 0o077, 0);
  }));

Deno.test("B54: names the process that holds the folder, and takes it once that was killed", () =>
  within(async (folder) => {
    const child = await holder(folder);
    const error = refusal(folder);
    assertEquals(error.code, "locked");
    assertStringIncludes(error.message, `process ${child.pid}`);
    assertStringIncludes(error.message, folder);
    child.kill("SIGKILL");
    await child.status;
    lockDataFolder(folder).release();
  }));

Deno.test("lets nobody in twice, and the next one in after a release", () =>
  within((folder) => {
    const held = lockDataFolder(folder);
    assertStringIncludes(refusal(folder).message, `process ${Deno.pid}`);
    held.release();
    held.release();
    lockDataFolder(folder).release();
  }));

Deno.test("B54: a path that cannot be a folder is refused with its name and a remedy", () =>
  within((folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "");
    for (const path of [`${folder}/file`, `${folder}/file/below`]) {
      const error = refusal(path);
      assertEquals(error.code, "not_writable");
      assertStringIncludes(error.message, path);
      assertStringIncludes(error.message, "MILVAION_DATA_DIR");
    }
  }));

Deno.test("knows network file systems by their number", () => {
  assertEquals([0x6969, 0xff534d42, -0x00acb2be, 0xef53].map(networkFileSystem), [
    "NFS",
    "CIFS",
    "CIFS",
    null,
  ]);
});
