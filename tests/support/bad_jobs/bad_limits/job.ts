import { defineJob } from "milvaion";

export default defineJob({
  name: "GreedyJob",
  maxParallelJobs: 1_000_000_000,
  maxRetries: -1,
  run: () => {},
});
