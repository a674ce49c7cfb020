/** Declares no schema. */
import { defineJob } from "milvaion";

export default defineJob({ name: "AnyDataJob", run: (ctx) => ctx.data });
