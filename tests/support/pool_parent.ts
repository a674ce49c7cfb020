/**
 * A process that runs attempts that spin, and says which hosts it has. Tests kill it to see what becomes of them.
 * Prints one line, the hosts' process ids, once user code runs.
 */
import { launchDeno } from "../../workers/launch.ts";
import { misbehave, withPool } from "./pool.ts";

await withPool({ launch: launchDeno }, async (pool, log) => {
  const all = [misbehave(pool, "spin"), misbehave(pool, "spin"), misbehave(pool, "ignore")];
  await Promise.all(all.map((one) => one.started));
  console.log(JSON.stringify({ figures: pool.figures(), warnings: log.lines }));
  await Promise.all(all.map((one) => one.ended));
});
