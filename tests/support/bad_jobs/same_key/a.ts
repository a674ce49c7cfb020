import { defineJob } from "milvaion";

export default defineJob({ name: "SendEmail", run: () => {} });
