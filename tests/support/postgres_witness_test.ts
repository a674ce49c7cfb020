import { assertEquals } from "@std/assert";
import postgres from "postgres";
import { createDay, MIGRATIONS } from "../../infra/postgres/schema.ts";
import { dayOf } from "../../infra/postgres/day.ts";
import { PostgresServer } from "./postgres_server.ts";
import { installWitness, readWitness } from "./postgres_witness.ts";
import { serverTest } from "./servers.ts";

const JOB = "0190a000-0000-7000-8000-000000000001";
const OCCURRENCE = "0190a000-0000-7000-8000-00000000000a";

serverTest(
  ["initdb"],
  "the witness in the database sees each change, who made it, and in which order it was committed",
  async () => {
    await using server = await PostgresServer.start();
    const url = await server.createDatabase("witnessed");
    const due = new Date(Math.ceil(Date.now() / 1000) * 1000);
    const as = (session: string) =>
      postgres(url, { max: 1, onnotice: () => {}, connection: { application_name: session } });
    const first = as("api-1");
    const second = as("api-2");
    try {
      for (const migration of MIGRATIONS) await first.unsafe(migration.sql);
      await installWitness(url);
      // A partition that is added later is watched as well.
      await first.unsafe(createDay(dayOf(due.getTime())));
      await first`UPDATE leadership SET epoch = 1, is_ended = false`;
      await first`
      INSERT INTO jobs (seq, id, version, next_due_at, is_active, job_type, definition, payload)
      VALUES (1, ${JOB}, 1, ${due}, true, 'X', ${`{"createdAt":${due.getTime() - 1}}`}, 1)`;
      await first`UPDATE jobs SET next_due_at = ${new Date(due.getTime() + 1000)}`;
      await first`
      INSERT INTO occurrences
        (seq, id, job, terms, twin, scheduled_for, created_at, origin, status, holds_job, created_reason)
      VALUES (1, ${OCCURRENCE}, 1, 1, 0, ${due}, ${due}, 0, 0, false, 'Triggered by somebody: a: b')`;
      await first`UPDATE occurrences SET lease_until = ${due}`; // nothing that anybody has to see
      // Written first, committed last.
      await first.begin(async (held) => {
        await held`UPDATE occurrences SET status = 1, token = 1`;
        await second`UPDATE leadership SET epoch = 2`;
      });
      await second`UPDATE occurrences SET status = 2, ended_at = ${due}`;

      const history = await readWitness(url);
      assertEquals(history.raises.map(({ epoch, session }) => [epoch, session]), [[1, "api-1"], [
        2,
        "api-2",
      ]]);
      assertEquals(history.leaderWrites.map(({ session }) => session), ["api-1", "api-1"]);
      assertEquals(
        history.edges.map(({ from, to, fromToken, toToken, session }) => [
          from,
          to,
          fromToken,
          toToken,
          session,
        ]),
        [
          [null, "Queued", 0, 0, "api-1"],
          ["Queued", "Running", 0, 1, "api-1"],
          ["Running", "Completed", 1, 1, "api-2"],
        ],
      );
      const [raise] = history.raises.slice(1);
      const [, claim] = history.edges;
      assertEquals((raise?.order ?? NaN) < (claim?.order ?? NaN), true, "the order is that of the commits");
      assertEquals(history.occurrences, [{
        id: OCCURRENCE,
        jobId: JOB,
        scheduled: true,
        dueAt: due.getTime(),
        status: "Completed",
        token: 1,
        createdReason: "a: b",
        catchesUp: false,
      }]);
      assertEquals(history.createdAt.get(JOB), due.getTime() - 1);
      assertEquals(history.nextDueAt.get(JOB), due.getTime() + 1000);
    } finally {
      await Promise.all([first.end(), second.end()]);
    }
  },
);
