/** Returns what it is told about its attempt. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "ContextJob",
  description: "Returns its context",
  data: z.object({
    when: z.iso.datetime().transform((text) => new Date(text)),
    list: z.array(z.object({ count: z.int() })).default([]),
  }),
  permissions: { read: ["/etc/hostname"], net: false },
  maxParallelJobs: 3,
  run: (ctx) => {
    ctx.progress(1, 2);
    ctx.progress(2, 2);
    return {
      year: ctx.data.when.getUTCFullYear(),
      occurrenceId: ctx.occurrenceId,
      jobId: ctx.jobId,
      scheduledFor: ctx.scheduledFor.toISOString(),
      attempt: ctx.attempt,
      maxAttempts: ctx.maxAttempts,
      fencingToken: ctx.fencingToken,
      aborted: ctx.signal.aborted,
    };
  },
});
