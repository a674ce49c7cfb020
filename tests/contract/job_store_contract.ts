/** The contract of `JobStore`. */
import { type Job, pauseAt } from "../../actors/domain/job.ts";
import { nextDue, type Schedule } from "../../actors/domain/schedule.ts";
import type { Page } from "../../actors/ports/store.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { COMPLETED, promiseOf, type StoreFactory } from "./store_fixture.ts";

export function jobStoreContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} job store`, factory);

  promise("gives back a definition as it was saved", async (world) => {
    const job = await world.saved({
      tags: ["a", "b"],
      workerId: "mail",
      jobData: '{"to":"ü😀"}',
      schedule: {
        kind: "cron",
        expression: "H * * * *",
        resolved: "0 7 * * * *",
        timeZone: "Europe/Berlin",
        gap: "Skip",
        fold: "Both",
      },
      pause: { reason: "holiday", by: "bob", since: 5, until: 9 },
      maxRetries: 0,
      baseRetryDelaySeconds: 0.5,
      nextDueAt: world.now,
    });
    assertEquals(await world.store.jobs.get(job.id), job);
    assertEquals(await world.store.jobs.get(world.random.uuid()), null);
  });

  promise("refuses a second job of the same id and keeps nothing of that call", async (world) => {
    const job = await world.saved();
    const other = world.job();
    await assertRejects(() => world.store.jobs.insert([other, job]));
    assertEquals(await world.store.jobs.get(other.id), null);
    assertEquals((await world.store.history.counts()).jobs, 1);
  });

  promise("a call that fails harms none that was made beside it", async (world) => {
    const job = await world.saved();
    const others = [world.job(), world.job()];
    const settled = await Promise.allSettled([
      world.store.jobs.insert(others.slice(0, 1)),
      world.store.jobs.insert([job]),
      world.store.jobs.insert(others.slice(1)),
    ]);
    assertEquals(settled.map((one) => one.status), ["fulfilled", "rejected", "fulfilled"]);
    for (const other of others) assertEquals(await world.store.jobs.get(other.id), other);
    assertEquals((await world.store.history.counts()).jobs, 3);
  });

  promise("saves a change only over the version it was made from", async (world) => {
    const job = await world.saved();
    const changed = { ...job, displayName: "Daily report", jobData: "{}" };
    assertEquals(await world.store.jobs.update(changed, 1), {
      ok: true,
      job: { ...changed, version: 2 },
    });
    assertEquals(await world.store.jobs.update({ ...job, displayName: "Late" }, 1), {
      ok: false,
      reason: "version-conflict",
      current: { ...changed, version: 2 },
    });
    assertEquals(await world.store.jobs.update(world.job(), 1), { ok: false, reason: "not-found" });
  });

  promise("lets one of two changes made from the same version win", async (world) => {
    const job = await world.saved();
    const answers = await Promise.all(
      ["A", "B", "C"].map((displayName) => world.store.jobs.update({ ...job, displayName }, 1)),
    );
    assertEquals(answers.filter((answer) => answer.ok).length, 1);
  });

  promise("refuses a change when due times after it were decided in between", async (world) => {
    const job = await world.saved({ nextDueAt: world.now });
    await world.lead();
    const updatedAt = world.now;
    await world.clock.advance(5);
    await world.decide([world.decision(job)]);
    const answer = await world.store.jobs.update({ ...job, updatedAt, nextDueAt: updatedAt + 1 }, 1);
    assert(!answer.ok && answer.reason === "version-conflict");
    const again = await world.store.jobs.update(
      { ...job, updatedAt: world.now, nextDueAt: world.now + 1 },
      1,
    );
    assert(again.ok);
  });

  promise(
    "keeps a due time that has come undecided as the next one when the job is changed",
    async (world) => {
      const due = world.now;
      const job = await world.saved({ nextDueAt: due });
      await world.clock.advance(5);
      const answer = await world.store.jobs.update({
        ...job,
        updatedAt: world.now,
        nextDueAt: world.now + 60_000,
      }, 1);
      assert(answer.ok);
      assertEquals(answer.job.nextDueAt, due);
    },
  );

  promise("pauses and resumes without a new version, and a change does not undo a pause", async (world) => {
    const job = await world.saved();
    const pause = { reason: "holiday", by: "bob", since: world.now, until: null };
    assertEquals(await world.store.jobs.setPause(job.id, pause), { ok: true, job: { ...job, pause } });
    const saved = await world.store.jobs.update({ ...job, displayName: "Daily" }, 1);
    assert(saved.ok);
    assertEquals(saved.job.pause, pause);
    await world.clock.advance(5);
    const resumed = await world.store.jobs.resume(job.id, world.now);
    assert(resumed.ok);
    assertEquals([resumed.job.pause, resumed.job.version], [{ ...pause, until: world.now }, 2]);
    assertEquals(pauseAt(resumed.job, world.now), null);
    for (const [isPaused, count] of [[true, 0], [false, 1]] as const) {
      assertEquals((await world.store.jobs.list({ isPaused }, 10, null)).items.length, count);
    }
    await world.clock.advance(5);
    assertEquals(await world.store.jobs.resume(job.id, world.now), resumed, "an ended pause keeps its end");
    const none = { ok: false, reason: "not-found" } as const;
    assertEquals(await world.store.jobs.resume(world.random.uuid(), world.now), none);
    assertEquals(await world.store.jobs.setPause(world.random.uuid(), pause), none);
  });

  promise("a new pause goes on from the one before while due times of that are undecided", async (world) => {
    const due = world.now;
    const job = await world.saved({ nextDueAt: due });
    const first = { reason: "one", by: "bob", since: due, until: null };
    await world.store.jobs.setPause(job.id, first);
    await world.clock.advance(10);
    await world.store.jobs.resume(job.id, world.now);
    await world.clock.advance(10);
    const second = { reason: "two", by: "carol", since: world.now, until: null };
    const again = await world.store.jobs.setPause(job.id, second);
    assert(again.ok);
    assertEquals(again.job.pause, { ...second, since: due });
  });

  promise("skips a due time only as long as the job stands as it was seen", async (world) => {
    const job = await world.saved({ nextDueAt: world.now + 1000 });
    const skipped = { dueAt: world.now + 1000, reason: "holiday", by: "bob", since: world.now };
    const answer = await world.store.jobs.skipDueTime(job, skipped);
    assertEquals(answer, { ok: true, job: { ...job, skippedDueTime: skipped } });
    assertEquals(await world.store.jobs.get(job.id), { ...job, skippedDueTime: skipped });
    const late = await world.store.jobs.skipDueTime(job, null);
    assert(!late.ok && late.reason === "version-conflict");
    assertEquals(late.current.skippedDueTime, skipped);
    const undone = await world.store.jobs.skipDueTime(late.current, null);
    assertEquals(undone.ok && undone.job.skippedDueTime, null);
    const missing = await world.store.jobs.skipDueTime({ ...job, id: world.random.uuid() }, null);
    assertEquals(missing, { ok: false, reason: "not-found" });
  });

  promise(
    "a change of the schedule drops a skipped due time that it does not have any more",
    async (world) => {
      const hourly = cron("0 0 * * * *");
      const dueAt = nextDue(hourly, world.now) ?? 0;
      const skippedDueTime = { dueAt, reason: "holiday", by: "bob", since: world.now };
      const job = await world.saved({ schedule: hourly, nextDueAt: dueAt, skippedDueTime });
      const kept = await world.store.jobs.update({ ...job, displayName: "Hourly" }, 1);
      assert(kept.ok);
      assertEquals(kept.job.skippedDueTime, skippedDueTime);
      const change = { ...kept.job, schedule: cron("0 30 * * * *"), nextDueAt: dueAt + 1_800_000 };
      const changed = await world.store.jobs.update(change, 2);
      assert(changed.ok);
      assertEquals((await world.store.jobs.get(job.id))?.skippedDueTime, null);
    },
  );

  promise(
    "a change keeps what runs have counted; a limit below that ends the schedule, a raised one goes on",
    async (world) => {
      const job = await world.saved({ nextDueAt: world.now + 5, runCount: 4, lastCatchUpAt: world.now });
      const ended = await world.store.jobs.update({ ...job, runLimit: 4, runCount: 0 }, 1);
      assert(ended.ok);
      assertEquals([ended.job.runCount, ended.job.nextDueAt], [4, null]);
      const raised = await world.store.jobs.update(
        { ...ended.job, runLimit: 5, nextDueAt: world.now + 60 },
        2,
      );
      assert(raised.ok);
      assertEquals(await world.store.jobs.get(job.id), raised.job);
      assertEquals([raised.job.nextDueAt, raised.job.lastCatchUpAt], [world.now + 60, world.now]);
    },
  );

  promise("removes a job with its history, but none that is queued or running", async (world) => {
    const job = await world.saved();
    const message = await world.running(job);
    await world.store.lines.append([{
      occurrenceId: message.occurrenceId,
      scheduledFor: message.scheduledFor,
      token: 1,
      sequence: 0,
      at: world.now,
      level: "info",
      message: "hello",
      fields: null,
    }]);
    assertEquals(await world.store.jobs.remove(job.id), {
      ok: false,
      reason: "in-use",
      occurrenceId: message.occurrenceId,
    });
    await world.record(message, COMPLETED);
    assertEquals(await world.store.jobs.remove(job.id), { ok: true });
    assertEquals(await world.store.jobs.remove(job.id), { ok: false, reason: "not-found" });
    assertEquals(await world.store.jobs.get(job.id), null);
    assertEquals(await world.store.history.occurrence(message.occurrenceId), null);
    assertEquals((await world.store.lines.read(message.occurrenceId, 10, null)).items, []);
    const counts = await world.store.history.counts();
    assertEquals([counts.jobs, counts.byStatus.Completed], [0, 0]);
  });

  promise("lists newest first, each job on one page, while others are added", async (world) => {
    const jobs: Job[] = [];
    for (let index = 0; index < 25; index += 1) jobs.push(world.job({ displayName: `Job ${index}` }));
    await world.store.jobs.insert(jobs);
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const page: Page<Job> = await world.store.jobs.list({}, 10, after);
      seen.push(...page.items.map((job) => job.id));
      after = page.next;
      await world.saved({ displayName: "Added meanwhile" });
    } while (after !== null);
    assertEquals(seen, jobs.map((job) => job.id).reverse());
  });

  promise("filters by text, type, tag, activity and pause", async (world) => {
    const pause = { reason: "holiday", by: "bob", since: world.now, until: world.now + 1000 };
    const mail = await world.saved({ displayName: "Send MAIL", jobType: "SendEmailJob", tags: ["mail"] });
    const idle = await world.saved({ displayName: "Idle", isActive: false });
    const paused = await world.saved({ displayName: "Paused", pause });
    const found = async (filter: Parameters<typeof world.store.jobs.list>[0]) =>
      (await world.store.jobs.list(filter, 10, null)).items.map((job) => job.displayName);
    assertEquals(await found({ search: "mail" }), [mail.displayName]);
    assertEquals(await found({ jobType: "SendEmailJob" }), [mail.displayName]);
    assertEquals(await found({ tag: "mail" }), [mail.displayName]);
    assertEquals(await found({ isActive: false }), [idle.displayName]);
    assertEquals(await found({ isPaused: true }), [paused.displayName]);
    assertEquals(await found({ isPaused: true, tag: "mail" }), []);
    await world.clock.advance(1000);
    assertEquals(await found({ isPaused: true }), [], "a pause that is over is none");
  });

  promise("gives every due time once to build the due index from", async (world) => {
    await world.store.jobs.insert(
      Array.from({ length: 25 }, (_, index) => world.job({ nextDueAt: index % 5 === 0 ? null : index })),
    );
    const due: number[] = [];
    let after: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof world.store.jobs.dueEntries>> = await world.store.jobs
        .dueEntries(7, after);
      due.push(...page.items.map((entry) => entry.dueAt));
      after = page.next;
    } while (after !== null);
    assertEquals(
      due.sort((a, b) => a - b),
      Array.from({ length: 25 }, (_, index) => index).filter((n) => n % 5 !== 0),
    );
  });

  promise("counts jobs and active jobs", async (world) => {
    const job = await world.saved();
    await world.saved({ isActive: false });
    await world.store.jobs.update({ ...job, isActive: false }, 1);
    await world.saved();
    const counts = await world.store.history.counts();
    assertEquals([counts.jobs, counts.activeJobs], [3, 1]);
  });
}

function cron(resolved: string): Schedule {
  return { kind: "cron", expression: resolved, resolved, timeZone: "UTC", gap: "Skip", fold: "First" };
}
