/** Finds out by itself whether another run of the same job is on: only one can create the marker. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "ExclusiveJob",
  description: "Holds a marker that only one run can hold, and writes down how that went",
  data: z.object({ marker: z.string(), file: z.string(), workMs: z.number() }),
  permissions: { write: true },
  maxRetries: 0,
  run: async (ctx) => {
    const { marker, file, workMs } = ctx.data;
    const write = (event: "alone" | "overlap") =>
      Deno.writeTextFileSync(file, JSON.stringify({ event, occurrenceId: ctx.occurrenceId }) + "\n", {
        append: true,
        create: true,
      });
    try {
      Deno.openSync(marker, { write: true, createNew: true }).close();
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      write("overlap");
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, workMs));
    Deno.removeSync(marker);
    write("alone");
  },
});
