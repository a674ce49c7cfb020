/** Writes its own start, beats and end to a file: a witness that does not trust the system. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "RecorderJob",
  description: "Writes its start and its end to a file",
  data: z.object({
    file: z.string(),
    workMs: z.number(),
    /** Writes a beat this often while it works. Left out: none. */
    beatMs: z.number().optional(),
    /** So many attempts fail after their work. */
    failures: z.number().optional(),
    /** Writes so many numbered log lines before it works. */
    lines: z.number().optional(),
    /** Does not listen to its signal. */
    isDeaf: z.boolean().optional(),
  }),
  permissions: { write: true },
  maxRetries: 3,
  run: async (ctx) => {
    const { file, workMs, beatMs, failures = 0, lines = 0, isDeaf = false } = ctx.data;
    // One small write to a file opened for appending: lines of many processes do not mix.
    const write = (event: "start" | "beat" | "end" | "stop") =>
      Deno.writeTextFileSync(
        file,
        JSON.stringify({
          event,
          occurrenceId: ctx.occurrenceId,
          jobId: ctx.jobId,
          token: ctx.fencingToken,
          attempt: ctx.attempt,
          pid: Deno.pid,
          at: Date.now(),
        }) + "\n",
        { append: true, create: true },
      );
    write("start");
    for (let line = 1; line <= lines; line += 1) ctx.log.info(`line ${line} of ${lines}`);
    const beats = beatMs === undefined ? undefined : setInterval(() => write("beat"), beatMs);
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(resolve, workMs);
        ctx.signal.addEventListener("abort", () => {
          if (isDeaf) return;
          clearTimeout(timer);
          reject(ctx.signal.reason);
        });
      });
      if (ctx.attempt <= failures) throw new Error(`attempt ${ctx.attempt} fails as planned`);
    } catch (error) {
      clearInterval(beats);
      write("stop");
      throw error;
    }
    clearInterval(beats);
    write("end");
  },
});
