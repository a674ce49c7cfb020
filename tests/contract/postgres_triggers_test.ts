/** Triggers on PostgreSQL: what an instance remembers of a job is never what decides. */
import { assert, assertEquals } from "@std/assert";
import postgres from "postgres";
import { autoDisabledText } from "../../actors/domain/auto_disable.ts";
import type { Job } from "../../actors/domain/job.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import type { PostgresStore } from "../../infra/postgres/store.ts";
import { newJob, openStore } from "../support/postgres_world.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";
import { DEFAULTS } from "./store_fixture.ts";

function trigger({ store }: PostgresStore, job: Job, idempotencyKey: string | null = null) {
  return store.outcomes.trigger({
    jobId: job.id,
    at: systemClock.now(),
    items: [{ occurrenceId: systemRandom.uuid(), jobData: null }],
    force: false,
    reason: null,
    by: "alice",
    idempotency: idempotencyKey === null ? null : { key: idempotencyKey, requestHash: "hash" },
    defaultsOf: () => DEFAULTS,
  });
}

/** Triggered until it is remembered how the job stands. */
async function remembered(opened: PostgresStore, job: Job): Promise<void> {
  for (let time = 0; time < 2; time += 1) assert((await trigger(opened, job)).ok);
}

serverTest(
  ["postgres"],
  "postgres: a job that another instance has changed is triggered as it stands, not as it is remembered",
  async () => {
    await using database = await temporaryDatabase();
    await using here = await openStore(database.url);
    await using elsewhere = await openStore(database.url, { migrate: false });
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    try {
      const change = async (job: Job, changed: Partial<Job>) => {
        await remembered(here, job);
        assert((await elsewhere.store.jobs.update({ ...job, ...changed }, 1)).ok);
        return await trigger(here, job);
      };
      const jobs = Array.from({ length: 5 }, () => newJob({ jobData: '{"of":1}' }));
      await here.store.jobs.insert(jobs);
      const [changed, inactive, skipping, removed, failing] = jobs as [Job, Job, Job, Job, Job];

      const next = await change(changed, { jobData: '{"of":2}' });
      assertEquals(next.ok && next.messages.map(({ jobData }) => jobData), ['{"of":2}']);
      assertEquals(await change(inactive, { isActive: false }), { ok: false, reason: "disabled" });
      const overlap = await change(skipping, { concurrentExecutionPolicy: "Skip" });
      assertEquals(!overlap.ok && overlap.reason, "overlap");

      await remembered(here, removed);
      await sql`UPDATE jobs SET is_leaving = true WHERE id = ${removed.id}`;
      assertEquals(await trigger(here, removed), { ok: false, reason: "not-found" });

      await remembered(here, failing);
      const state = autoDisabledText({
        since: systemClock.now(),
        until: null,
        failures: 3,
        occurrenceId: systemRandom.uuid(),
        reason: "3 failures in a row",
        probeAt: null,
        probeId: systemRandom.uuid(),
        cooldownSeconds: null,
      });
      await sql`UPDATE jobs SET auto_disabled = ${state} WHERE id = ${failing.id}`;
      const refused = await trigger(here, failing);
      assertEquals(!refused.ok && refused.reason, "auto-disabled");
    } finally {
      await sql.end();
    }
  },
);

serverTest(
  ["postgres"],
  "postgres: a remembered job's trigger with a key is still done once",
  async () => {
    await using database = await temporaryDatabase();
    await using opened = await openStore(database.url);
    const job = newJob();
    await opened.store.jobs.insert([job]);
    await remembered(opened, job);
    const answers = await Promise.all([1, 2, 3].map(() => trigger(opened, job, "one-key")));
    assertEquals(new Set(answers.flatMap((one) => one.ok ? one.occurrenceIds : [])).size, 1);
    assertEquals((await opened.store.history.counts()).byStatus.Queued, 3);
  },
);
