/** Files that cannot be what a verb sends (B45). */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand, withFile } from "../../tests/support/cli_desk.ts";

Deno.test("B45 a file that is missing, or a directory, ends with 66", async () => {
  const missing = await runCommand(["jobs", "create", "--file", "/nowhere/job.json"], {});
  assertEquals([missing.code, missing.error], [
    66,
    "error: Cannot read /nowhere/job.json: there is no such file\n",
  ]);
  const folder = await Deno.makeTempDir();
  const directory = await runCommand(["jobs", "create", "--file", folder], {});
  await Deno.remove(folder);
  assertEquals([directory.code, directory.error], [66, `error: Cannot read ${folder}: it is a directory\n`]);
});

Deno.test("B45 a file of a gigabyte ends with 65 without being read to its end", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, 1024 ** 3);
    const { code, error } = await runCommand(["jobs", "create", "--file", path], {});
    assertEquals(code, 65);
    assertStringIncludes(error, "is larger than 1 MiB");
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("B45 a file that is not UTF-8, no JSON, or no object ends with 65", async () => {
  const encoder = new TextEncoder();
  for (
    const [bytes, says] of [
      [new Uint8Array([0x7b, 0xff, 0x7d]), "is not UTF-8"],
      [encoder.encode("{,}"), "is not JSON"],
      [encoder.encode("[]"), "holds no JSON object"],
    ] as const
  ) {
    await withFile(bytes, async (path) => {
      const { code, error } = await runCommand(["jobs", "create", "--file", path], {});
      assertEquals(code, 65);
      assertStringIncludes(error, says);
    });
  }
});

Deno.test("B45 - with a terminal ends with 64", async () => {
  const { code, error } = await runCommand(["jobs", "create", "--file", "-"], {});
  assertEquals(code, 64);
  assertStringIncludes(error, "standard input, which is a terminal");
});
