import { defineJob } from "milvaion";

export default defineJob({ name: "send.#email *Job", run: () => {} });
