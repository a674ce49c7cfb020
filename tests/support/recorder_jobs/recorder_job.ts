/** Writes its own start and end to a file: a witness that does not trust the system. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "RecorderJob",
  description: "Writes its start and its end to a file",
  data: z.object({ file: z.string(), workMs: z.number() }),
  permissions: { write: true },
  maxRetries: 3,
  run: async (ctx) => {
    const write = (event: string) =>
      Deno.writeTextFileSync(
        ctx.data.file,
        JSON.stringify({
          event,
          occurrenceId: ctx.occurrenceId,
          jobId: ctx.jobId,
          token: ctx.fencingToken,
          at: Date.now(),
        }) + "\n",
        { append: true, create: true },
      );
    write("start");
    await new Promise((resolve) => setTimeout(resolve, ctx.data.workMs));
    write("end");
  },
});
