/** What `run` returns is the result of the occurrence: anything JSON can say, up to 64 KiB. */
import { defineJob, z } from "milvaion";

export default defineJob({
  name: "ResultJob",
  description: "Adds numbers and returns what it found",
  data: z.object({ numbers: z.array(z.number()).max(10_000).default([1, 2, 3]) }),
  run: (ctx) => {
    const { numbers } = ctx.data;
    const sum = numbers.reduce((total, number) => total + number, 0);
    return { count: numbers.length, sum, mean: numbers.length === 0 ? null : sum / numbers.length };
  },
});
