/** Runs for as long as it is told to and heeds its signal at once: good for trying cancel, time limits and Ctrl-C. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "LongRunningJob",
  description: "Waits for some seconds; ends at once when it is told to",
  data: z.object({ seconds: z.number().min(0).max(86_400).default(30) }),
  run: async (ctx) => {
    const { seconds } = ctx.data;
    for (let second = 0; second < seconds; second++) {
      ctx.progress(second, seconds);
      await sleep(Math.min(1, seconds - second) * 1000, ctx.signal);
    }
    ctx.progress(seconds, seconds);
    ctx.log.info(`Waited ${seconds} s`);
    return { seconds };
  },
});

/** Resolves after `ms` milliseconds, rejects with the signal's reason when that comes first. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal.addEventListener("abort", abort, { once: true });
  });
}
