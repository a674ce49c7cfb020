/** Inserts a row into a table over a connection of its thread, as the guide's third row does. */
import { defineJob, z } from "milvaion";
import postgres from "postgres";

let connections: ReturnType<typeof postgres> | null = null;

export default defineJob({
  name: "DatabaseInsertJob",
  description: "Inserts a row",
  data: z.object({ url: z.string(), seconds: z.number() }),
  async run(ctx) {
    const { url, seconds } = ctx.data;
    connections ??= postgres(url, { max: 20, fetch_types: false });
    await connections`
      INSERT INTO bench_rows (at, value) SELECT ${Date.now()}, ${ctx.occurrenceId} FROM pg_sleep(${seconds})`;
  },
});
