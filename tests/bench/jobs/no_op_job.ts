/** Does nothing: what is left is the cost of the scheduler. */
import { defineJob } from "milvaion";

export default defineJob({ name: "NoOpJob", description: "Does nothing", run: () => undefined });
