/** Waits as a mail server would let it wait, and heeds its signal while it does. No mail is sent. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "SendEmailJob",
  description: "Pretends to send a mail: waits 500 ms",
  data: z.object({ to: z.email(), subject: z.string().max(200).default("(no subject)") }),
  routingPattern: "sendemail.*",
  executionTimeoutSeconds: 30,
  run: async (ctx) => {
    const { to, subject } = ctx.data;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, 500);
      ctx.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(ctx.signal.reason);
      }, { once: true });
    });
    // The token lets the mail server refuse a second mail from an attempt that was thought lost.
    ctx.log.info("Sent", { to, subject, token: ctx.fencingToken });
    return { to };
  },
});
