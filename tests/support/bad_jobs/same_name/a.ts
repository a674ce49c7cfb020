import { defineJob } from "milvaion";

export default defineJob({ name: "TwinJob", run: () => {} });
