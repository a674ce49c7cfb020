/** Gives back what it was given, after so many attempts that fail, when it is let. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "EchoJob",
  description: "Returns its text",
  data: z.object({
    text: z.string(),
    failures: z.number().default(0),
    /** It waits until there is this file. */
    gate: z.string().optional(),
  }),
  permissions: { read: true },
  maxRetries: 1,
  baseRetryDelaySeconds: 0,
  run: async (ctx) => {
    const { text, failures, gate } = ctx.data;
    while (gate !== undefined && !isThere(gate)) await new Promise((resolve) => setTimeout(resolve, 20));
    if (ctx.attempt <= failures) throw new Error(`told to fail with ${text.length} characters`);
    return { text };
  },
});

function isThere(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}
