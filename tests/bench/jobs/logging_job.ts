/** The guide's simple job: one log line. */
import { defineJob } from "milvaion";

export default defineJob({
  name: "LoggingJob",
  description: "Writes a line",
  run: (ctx) => ctx.log.info("done"),
});
