/** Waits as a call to another service does. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "WaitJob",
  description: "Waits",
  data: z.object({ ms: z.number() }),
  run: (ctx) => new Promise<void>((resolve) => setTimeout(resolve, ctx.data.ms)),
});
