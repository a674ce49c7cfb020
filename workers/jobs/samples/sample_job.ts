/** The smallest job: logs its message. Try: {"jobType":"SampleJob","jobData":{"message":"hi"}} */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "SampleJob",
  description: "Logs its message",
  data: z.object({ message: z.string().default("Hello from Milvaion") }),
  run: (ctx) => ctx.log.info(ctx.data.message),
});
