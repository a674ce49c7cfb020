/** Long work in small steps: says how far it is, and stops between two steps when it is told to. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "MigrationJob",
  description: "Pretends to move rows in batches, with progress",
  data: z.object({
    batches: z.int().min(1).max(100_000).default(60),
    batchMs: z.int().min(1).max(60_000).default(1000),
  }),
  routingPattern: "migration.*",
  maxParallelJobs: 1,
  executionTimeoutSeconds: null,
  run: async (ctx) => {
    const { batches, batchMs } = ctx.data;
    for (let done = 0; done < batches; done++) {
      // Between batches nothing is half-done: the next attempt would go on from here.
      ctx.signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, batchMs));
      ctx.progress(done + 1, batches);
      if ((done + 1) % 10 === 0) ctx.log.info(`Batch ${done + 1} of ${batches} is done`);
    }
    return { batches };
  },
});
