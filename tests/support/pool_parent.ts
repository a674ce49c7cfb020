/**
 * A process that runs attempts that spin, and says which hosts it has. Tests kill or freeze it to see what becomes of
 * them. Prints one line once user code runs, and another, the outcomes, when all have ended. Its argument is how long
 * its hosts bear its silence, in milliseconds.
 */
import { launchDeno } from "../../workers/launch.ts";
import { misbehave, withPool } from "./pool.ts";

await withPool({ launch: launchDeno, parentSilenceMs: Number(Deno.args[0]) }, async (pool, log) => {
  const all = [misbehave(pool, "spin"), misbehave(pool, "spin"), misbehave(pool, "ignore")];
  await Promise.all(all.map((one) => one.started));
  console.log(JSON.stringify({ figures: pool.figures(), warnings: log.lines }));
  console.log(JSON.stringify(await Promise.all(all.map((one) => one.ended))));
});
