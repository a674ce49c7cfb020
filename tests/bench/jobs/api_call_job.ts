/** Calls a service over HTTP, as the guide's second row does. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "ApiCallJob",
  description: "Calls an address",
  data: z.object({ url: z.url() }),
  async run(ctx) {
    const response = await fetch(ctx.data.url, { signal: ctx.signal });
    await response.text();
    if (!response.ok) throw new Error(`status ${response.status}`);
  },
});
