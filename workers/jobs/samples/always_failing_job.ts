/** Fails each time: shows retries, back-off, and what is kept of an error. */
import { defineJob, PermanentJobError, z } from "milvaion";

export default defineJob({
  name: "AlwaysFailingJob",
  description: "Fails; with permanent: true it is not tried again",
  data: z.object({
    message: z.string().default("This job always fails"),
    permanent: z.boolean().default(false),
  }),
  maxRetries: 2,
  baseRetryDelaySeconds: 1,
  run: (ctx) => {
    const { message, permanent } = ctx.data;
    ctx.log.warn(`Attempt ${ctx.attempt} of ${ctx.maxAttempts} is about to fail`);
    if (permanent) throw new PermanentJobError(message);
    throw new Error(message, { cause: new Error("Because it is its job to") });
  },
});
