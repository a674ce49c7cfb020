/**
 * Spins and heeds nothing: what a job should not do. Its time limit ends it all the same, by SIGKILL of its host,
 * because a Web Worker that never yields cannot be stopped in any other way.
 */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "CpuBurnJob",
  description: "Spins for some seconds and does not listen",
  data: z.object({ seconds: z.number().min(0).max(3600).default(5) }),
  isolation: "process",
  maxParallelJobs: 2,
  run: (ctx) => {
    const end = performance.now() + ctx.data.seconds * 1000;
    let turns = 0;
    while (performance.now() < end) turns += 1;
    return { turns };
  },
});
