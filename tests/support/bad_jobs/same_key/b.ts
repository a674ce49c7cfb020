import { defineJob } from "milvaion";

export default defineJob({ name: "SendEmailJob", run: () => {} });
