/** Work for the processor: each lane has a Web Worker of its own, so that reports do not wait for each other. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "GenerateReportJob",
  description: "Counts primes for about a second and reports how many there are",
  data: z.object({ upTo: z.int().min(2).max(50_000_000).default(3_000_000) }),
  routingPattern: "report.*",
  isolation: "thread",
  run: (ctx) => {
    const { upTo } = ctx.data;
    let primes = 0;
    for (let candidate = 2; candidate <= upTo; candidate++) {
      if (isPrime(candidate)) primes += 1;
      if (candidate % 10_000 === 0) {
        // A loop that never awaits can still be told to end.
        ctx.signal.throwIfAborted();
        ctx.progress(candidate, upTo);
      }
    }
    ctx.log.info(`${primes} primes up to ${upTo}`);
    return { upTo, primes };
  },
});

function isPrime(candidate: number): boolean {
  for (let divisor = 2; divisor * divisor <= candidate; divisor++) {
    if (candidate % divisor === 0) return false;
  }
  return true;
}
