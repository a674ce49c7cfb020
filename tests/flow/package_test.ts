/** The self-extracting package, as somebody who has neither Deno nor this repository runs it. */
import { assertEquals } from "@std/assert";
import { makePackage } from "../../infra/deploy/package.ts";
import { Program } from "../support/program.ts";
import { folderWithGreetJob, greet, helloEveryFiveSeconds } from "../support/transcript.ts";

Deno.test("the package runs README's transcript in an empty home, without Deno on the path", async () => {
  const home = await Deno.makeTempDir({ prefix: "milvaion-home-" });
  const jobs = await folderWithGreetJob();
  try {
    await makePackage(`${home}/milvaion`);
    await using program = await Program.start({
      // Through sh, which tests may start: a file that was just made has no permission of its own.
      command: ["sh", `${home}/milvaion`, "run"],
      clearEnv: true,
      env: { HOME: home, PATH: "/usr/bin:/bin" },
      dataDir: `${home}/data`,
      args: ["--jobs", jobs],
    });
    await helloEveryFiveSeconds(program);
    await greet(program);
    assertEquals((await program.stop()).code, 0, program.output);
  } finally {
    await Deno.remove(home, { recursive: true });
    await Deno.remove(jobs, { recursive: true });
  }
});
