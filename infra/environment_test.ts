import { assert, assertEquals, assertMatch } from "@std/assert";
import { problemLine } from "./config.ts";
import { checkEnvironment, type Environment, measuredEnvironment } from "./environment.ts";

const MEBIBYTE = 1024 * 1024;
const ENOUGH: Environment = { env: {}, openable: (upTo) => upTo, memoryLimit: null };

Deno.test("B56 a machine with enough of everything starts without a word", () => {
  assertEquals(checkEnvironment({ ...ENOUGH, env: { TZ: "Europe/Berlin", LANG: "C" } }), {
    problems: [],
    warnings: [],
  });
  assertEquals(
    checkEnvironment({ ...ENOUGH, env: { TZ: ":UTC" }, memoryLimit: 512 * MEBIBYTE }).warnings,
    [],
  );
});

Deno.test("B56 too few open files are refused with the minimum and the way to raise it", () => {
  const { problems: [problem] } = checkEnvironment({ ...ENOUGH, openable: () => 43 });
  assert(problem !== undefined);
  assertEquals(
    problemLine(problem),
    "open files: got room for 43 more, expected at least 128. Raise the limit, e.g. with `ulimit -n 1024`.",
  );
});

Deno.test("B56 a container with 64 MiB is refused with the minimum", () => {
  const { problems: [problem] } = checkEnvironment({ ...ENOUGH, memoryLimit: 64 * MEBIBYTE });
  assert(problem !== undefined);
  assertMatch(problemLine(problem), /^memory: got a limit of 64 MiB, expected at least 192 MiB/);
});

Deno.test("B56 a TZ that is no zone is warned about with the nearest name", () => {
  const warningOf = (zone: string) => checkEnvironment({ ...ENOUGH, env: { TZ: zone } }).warnings.join();
  assertMatch(warningOf("Mars"), /^TZ is Mars, which is no time zone; local times are UTC\./);
  assertMatch(warningOf("Europe/Berln"), /Did you mean Europe\/Berlin\?/);
  assertEquals(warningOf("CET-1CEST"), "");
});

Deno.test("B56 the limit of open files is really measured", async () => {
  const script = `
    import { checkEnvironment, measuredEnvironment } from ${
    JSON.stringify(new URL("./environment.ts", import.meta.url))
  };
    const { problems } = checkEnvironment(measuredEnvironment({}));
    console.log(JSON.stringify(problems.map(({ field }) => field)));`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, script);
  const { stdout } = await new Deno.Command("sh", {
    args: [
      "-c",
      `ulimit -n 64; exec "$0" run --no-prompt --quiet --allow-read "$1"`,
      Deno.execPath(),
      file,
    ],
    stdout: "piped",
    stderr: "inherit",
  }).output();
  await Deno.remove(file);
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)), ["open files"]);
});

Deno.test("B56 this machine is good enough to test on", () => {
  assertEquals(checkEnvironment(measuredEnvironment({})).problems, []);
});
