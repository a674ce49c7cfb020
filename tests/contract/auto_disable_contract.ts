/** The contract of stores about jobs that keep failing: disabled, probed, enabled again. */
import type { AutoDisableChange } from "../../actors/domain/auto_disable.ts";
import type { Job } from "../../actors/domain/job.ts";
import type { JobMessage } from "../../actors/domain/message.ts";
import { planDecision } from "../../actors/domain/plan.ts";
import { parseSchedule } from "../../actors/domain/schedule.ts";
import type { RecordAnswer } from "../../actors/ports/store.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { COMPLETED, DEFAULTS, FAILED, promiseOf, type StoreFactory, StoreWorld } from "./store_fixture.ts";

const MINUTE = 60_000;
const PERMANENT = { ...FAILED, permanent: true };
const TIMED_OUT = { kind: "timedOut", rung: "signal", limitMs: 5 } as const;
const RULE = { isEnabled: true, failures: 3, windowMinutes: 10, cooldownMinutes: 5 };

export function autoDisableContract(name: string, factory: StoreFactory): void {
  const promise = promiseOf(`${name} auto-disable`, factory);

  promise("a job that keeps failing is disabled by the failure that is one too many", async (world) => {
    const job = await world.saved({ autoDisable: RULE });
    const outcomes = [PERMANENT, TIMED_OUT, PERMANENT] as const;
    const news: (readonly AutoDisableChange[] | undefined)[] = [];
    let last: JobMessage | null = null;
    for (const outcome of outcomes) {
      last = await world.running(job);
      news.push((await world.record(last, outcome)).autoDisable);
    }
    const { autoDisabled, version } = await read(world, job);
    assertEquals(version, job.version, "it is no change of the definition");
    assert(autoDisabled !== null && last !== null);
    assertEquals(news, [undefined, undefined, [{ jobId: job.id, kind: "disabled", state: autoDisabled }]]);
    const { reason, ...state } = autoDisabled;
    assertEquals(state, {
      since: world.now,
      until: null,
      failures: 3,
      occurrenceId: last.occurrenceId,
      probeAt: world.now + 5 * MINUTE,
      probeId: null,
      cooldownSeconds: 300,
    });
    assertMatch(reason, /^3 failures in a row within 10 min\. The last: Attempt 1 of 3 failed/);
  });

  promise(
    "a job that gives no rule goes by its type's or the server's, and may say that it is never disabled",
    async (world) => {
      const rules = {
        ...DEFAULTS.rules,
        autoDisable: { failures: 1, windowSeconds: 60, cooldownSeconds: null },
      };
      const silent = await world.saved();
      const never = await world.saved({
        autoDisable: { isEnabled: false, failures: null, windowMinutes: null, cooldownMinutes: null },
      });
      for (const job of [silent, never]) {
        const answer = await world.trigger(job, { defaultsOf: () => ({ ...DEFAULTS, rules }) });
        assert(answer.ok && answer.messages[0] !== undefined);
        await world.record(await world.claimed(answer.messages[0]), PERMANENT);
      }
      assertEquals((await read(world, silent)).autoDisabled?.probeAt, null);
      assertEquals((await read(world, never)).autoDisabled, null);
    },
  );

  promise(
    "a retry is no failure, a completed run ends the streak, a cancelled one does not",
    async (world) => {
      const job = await world.saved({ autoDisable: RULE });
      const fail = async () =>
        (await world.record(await world.running(job), PERMANENT)).autoDisable?.length ?? 0;
      assertEquals([await fail(), await fail()], [0, 0]);
      const retried = await world.running(job);
      assertEquals((await world.record(retried, { ...FAILED, retryAfterMs: 0 })).autoDisable, undefined);
      await world.cancel(retried.occurrenceId);
      assertEquals((await read(world, job)).autoDisabled, null);
      await world.record(await world.running(job), COMPLETED);
      assertEquals([await fail(), await fail(), await fail()], [0, 0, 1]);
    },
  );

  promise("the streak of a job with policy Skip or Queue is ended by a completed run, too", async (world) => {
    for (const concurrentExecutionPolicy of ["Skip", "Queue"] as const) {
      const job = await world.saved({ autoDisable: { ...RULE, failures: 2 }, concurrentExecutionPolicy });
      for (const outcome of [PERMANENT, COMPLETED, PERMANENT]) {
        await world.record(await world.running(job), outcome);
      }
      assertEquals((await read(world, job)).autoDisabled, null);
      await world.record(await world.running(job), PERMANENT);
      assertEquals((await read(world, job)).autoDisabled?.failures, 2);
    }
  });

  promise("an occurrence that is kept back as suspect counts once", async (world) => {
    const job = await world.saved({ autoDisable: { ...RULE, failures: 1 } });
    const epoch = await world.lead();
    let message = await world.queued(job);
    const counted: number[] = [];
    for (const token of [1, 2]) {
      await world.claimed(message);
      const lost = await world.store.ledger.silentAttempts(Infinity, 10);
      const record = await world.store.ledger.reap(epoch, [...lost, ...lost], world.now, 0);
      counted.push(record?.autoDisable?.length ?? 0);
      message = { ...message, token };
    }
    assertEquals(counted, [0, 1]);
    assertMatch((await read(world, job)).autoDisabled?.reason ?? "", /suspect/);
  });

  promise(
    "reports that come twice, at once and from many trackers, count each failure once",
    async (world) => {
      const job = await world.saved({ autoDisable: { ...RULE, failures: 12 } });
      const messages = await Promise.all(Array.from({ length: 11 }, () => world.running(job)));
      const reports = messages.map((message) => world.report(message, PERMANENT));
      const record = (some: typeof reports) => world.store.outcomes.record(some, world.now, 0.5);
      const answers = await Promise.all([
        record(reports),
        record(reports.toReversed()),
        ...reports.map((report) => record([report, report])),
      ]);
      assertEquals(newsOf(answers), []);
      assertEquals((await read(world, job)).autoDisabled, null);
      assertEquals(newsOf([await world.record(await world.running(job), PERMANENT)]), ["disabled"]);
    },
  );

  promise("failures of many runs that end at once disable a job once", async (world) => {
    const job = await world.saved({ autoDisable: RULE });
    const messages = await Promise.all(Array.from({ length: 10 }, () => world.running(job)));
    const answers = await Promise.all(messages.map((message) => world.record(message, PERMANENT)));
    assertEquals(newsOf(answers), ["disabled"]);
  });

  promise("while a job is disabled its due times are recorded, and the schedule goes on", async (world) => {
    const job = await disabledMinutely(world);
    await world.clock.advance(3 * MINUTE);
    await decideDue(world, job);
    const range = await world.store.history.rangeAt(job.id, job.nextDueAt ?? 0);
    const { autoDisabled, nextDueAt } = await read(world, job);
    assertEquals([range?.reason, range?.count], ["auto-disabled", 3]);
    assertMatch(range?.by ?? "", new RegExp(`^3 failures in a row.* ${autoDisabled?.occurrenceId}$`));
    assertEquals(nextDueAt, (job.nextDueAt ?? 0) + 3 * MINUTE);
  });

  promise("a due time that was planned before the job was disabled is not written after", async (world) => {
    const job = await world.saved({ ...minutely(world), autoDisable: RULE });
    await world.lead();
    await world.clock.advance(MINUTE);
    const before = planOf(world, await read(world, job));
    await fail(world, job, 3);
    assertEquals((await world.decide([before])).conflicts, [job.id]);
    assertEquals((await world.decide([planOf(world, await read(world, job))])).conflicts, []);
    const range = await world.store.history.rangeAt(job.id, job.nextDueAt ?? 0);
    assertEquals(range?.reason, "auto-disabled");
  });

  promise(
    "after the cool-down one due time is the probe; it enables the job when it completes",
    async (world) => {
      const job = await disabledMinutely(world);
      await world.clock.advance(7 * MINUTE);
      const { messages } = await decideDue(world, job);
      const [probe] = messages;
      assert(probe !== undefined && messages.length === 1);
      assertEquals((await read(world, job)).autoDisabled?.probeId, probe.occurrenceId);
      await world.clock.advance(2 * MINUTE);
      assertEquals((await decideDue(world, job)).messages, [], "one at a time");
      const record = await world.record(await world.claimed(probe), COMPLETED);
      assertEquals(newsOf([record]), ["enabled"]);
      assertEquals((await read(world, job)).autoDisabled, null);
      await world.clock.advance(MINUTE);
      assertEquals((await decideDue(world, job)).messages.length, 1, "it runs as ever");
      await fail(world, job, 2);
      assertEquals((await read(world, job)).autoDisabled, null, "failures are counted from nothing");
    },
  );

  promise("a probe that fails starts the next cool-down, twice as long", async (world) => {
    const job = await disabledMinutely(world);
    await world.clock.advance(6 * MINUTE);
    const [probe] = (await decideDue(world, job)).messages;
    assert(probe !== undefined);
    const record = await world.record(await world.claimed(probe), TIMED_OUT);
    assertEquals(newsOf([record]), ["probeFailed"]);
    const { autoDisabled } = await read(world, job);
    assertEquals([autoDisabled?.failures, autoDisabled?.occurrenceId, autoDisabled?.probeId], [
      4,
      probe.occurrenceId,
      null,
    ]);
    assertEquals(autoDisabled?.probeAt, world.now + 10 * MINUTE);
  });

  promise("a probe that is cancelled leaves the next due time to probe", async (world) => {
    const job = await disabledMinutely(world);
    await world.clock.advance(6 * MINUTE);
    const [probe] = (await decideDue(world, job)).messages;
    assert(probe !== undefined);
    await world.cancel(probe.occurrenceId);
    assertEquals((await read(world, job)).autoDisabled?.probeId, null);
    await world.clock.advance(MINUTE);
    assertEquals((await decideDue(world, job)).messages.length, 1);
  });

  promise(
    "a trigger probes a disabled job at any time, one at a time; by force others run beside it",
    async (world) => {
      for (const concurrentExecutionPolicy of ["Allow", "Skip", "Queue"] as const) {
        const job = await world.saved({ autoDisable: RULE, concurrentExecutionPolicy });
        await fail(world, job, 3);
        assertEquals(await world.trigger(job, { count: 2 }), {
          ok: false,
          reason: "auto-disabled",
          probeId: null,
        });
        const answers = await Promise.all(Array.from({ length: 8 }, () => world.trigger(job)));
        const [probe, ...others] = answers.flatMap((answer) => answer.ok ? answer.messages : []);
        assert(probe !== undefined && others.length === 0, `${others.length + 1} probes at once`);
        const expected = concurrentExecutionPolicy === "Skip"
          ? { ok: false, reason: "overlap", occurrenceId: probe.occurrenceId }
          : { ok: false, reason: "auto-disabled", probeId: probe.occurrenceId };
        for (const answer of answers) if (!answer.ok) assertEquals(answer as unknown, expected);
        const forced = await world.trigger(job, { force: true });
        assert(forced.ok);
        const record = await world.record(await world.claimed(probe), COMPLETED);
        assertEquals(newsOf([record]), ["enabled"]);
        const { autoDisabled } = await read(world, job);
        assertEquals(autoDisabled, null, "nothing is due, so nothing of it is kept");
      }
    },
  );

  promise("a person enables a job; what was due meanwhile does not run, decided or not", async (world) => {
    const job = await disabledMinutely(world);
    await world.clock.advance(3.5 * MINUTE);
    const answer = await world.store.jobs.enable(job.id, world.now);
    assert(answer.ok);
    assertEquals([answer.job.autoDisabled?.until, answer.job.version], [world.now, job.version]);
    await world.clock.advance(MINUTE);
    const { messages } = await decideDue(world, job);
    assertEquals(messages.map((one) => one.scheduledFor), [(job.nextDueAt ?? 0) + 3 * MINUTE]);
    const range = await world.store.history.rangeAt(job.id, job.nextDueAt ?? 0);
    assertEquals([range?.reason, range?.count], ["auto-disabled", 3]);
    assertEquals((await read(world, job)).autoDisabled, null);
    await fail(world, job, 2);
    assertEquals((await read(world, job)).autoDisabled, null, "failures are counted from nothing");
  });

  promise(
    "enabling a job that is not disabled changes nothing, and one that is not there is not found",
    async (world) => {
      const job = await world.saved({ autoDisable: RULE });
      await fail(world, job, 2);
      assertEquals(await world.store.jobs.enable(job.id, world.now), {
        ok: true,
        job: await read(world, job),
      });
      await fail(world, job, 1);
      assertEquals((await read(world, job)).autoDisabled?.failures, 3, "its failures are still counted");
      assertEquals(await world.store.jobs.enable(world.random.uuid(), world.now), {
        ok: false,
        reason: "not-found",
      });
    },
  );

  promise(
    "a changed definition leaves a job disabled, lists find it, and it can be removed",
    async (world) => {
      const job = await disabledMinutely(world);
      const other = await world.saved();
      const { autoDisabled } = await read(world, job);
      const saved = await world.store.jobs.update(
        { ...job, displayName: "Anew", autoDisabled: null },
        job.version,
      );
      assertEquals(saved.ok && saved.job.autoDisabled, autoDisabled);
      const ids = async (isAutoDisabled: boolean) =>
        (await world.store.jobs.list({ isAutoDisabled }, 10, null)).items.map((one) => one.id);
      assertEquals([await ids(true), await ids(false)], [[job.id], [other.id]]);
      assertEquals(await world.store.jobs.remove(job.id), { ok: true });
      assertEquals(await ids(true), []);
    },
  );

  promise("whatever ends in whatever order, each failure counts once and one probe is on", async (world) => {
    await world.lead();
    await fc.assert(fc.asyncProperty(COMMANDS, (commands) => walk(world, commands)), { numRuns: 30 });
  });
}

const COMMANDS = fc.array(
  fc.record({
    do: fc.constantFrom("trigger", "trigger", "end", "end", "end", "again", "tick", "enable"),
    pick: fc.nat(100),
    outcome: fc.constantFrom("completed", "failed", "failed", "failed"),
  }),
  { minLength: 10, maxLength: 40 },
);

type Command = { readonly do: string; readonly pick: number; readonly outcome: string };

/** Any history of one job, against a count kept beside it. */
async function walk(world: StoreWorld, commands: readonly Command[]): Promise<void> {
  const job = await world.saved({ ...minutely(world), autoDisable: RULE });
  const running: JobMessage[] = [];
  const ended: { readonly message: JobMessage; readonly outcome: string }[] = [];
  let inARow = 0;
  for (const command of commands) {
    const before = (await read(world, job)).autoDisabled;
    const isDisabled = before !== null && before.until === null;
    switch (command.do) {
      case "trigger": {
        const answer = await world.trigger(job);
        assertEquals(answer.ok, !isDisabled || before.probeId === null);
        if (answer.ok) { for (const message of answer.messages) running.push(await world.claimed(message)); }
        break;
      }
      case "end": {
        const [message] = running.splice(command.pick % Math.max(1, running.length), 1);
        if (message === undefined) break;
        ended.push({ message, outcome: command.outcome });
        const isProbe = isDisabled && before.probeId === message.occurrenceId;
        const isCompleted = command.outcome === "completed";
        const { autoDisable = [] } = await world.record(message, isCompleted ? COMPLETED : PERMANENT);
        if (!isDisabled) inARow = isCompleted ? 0 : inARow + 1;
        const isDisabling = !isDisabled && inARow >= RULE.failures;
        const expected = isProbe
          ? [isCompleted ? "enabled" : "probeFailed"]
          : isDisabling
          ? ["disabled"]
          : [];
        assertEquals(autoDisable.map((change) => change.kind), expected);
        if (isDisabling || (isProbe && isCompleted)) inARow = 0;
        break;
      }
      case "again": {
        const again = ended[command.pick % Math.max(1, ended.length)];
        if (again === undefined) break;
        const outcome = again.outcome === "completed" ? COMPLETED : PERMANENT;
        assertEquals((await world.record(again.message, outcome)).changed, []);
        break;
      }
      case "tick": {
        await world.clock.advance(MINUTE / 4);
        const { nextDueAt } = await read(world, job);
        if (nextDueAt === null || nextDueAt > world.now) break;
        for (const message of (await decideDue(world, job)).messages) {
          running.push(await world.claimed(message));
        }
        break;
      }
      case "enable":
        await world.store.jobs.enable(job.id, world.now);
        if (isDisabled) inARow = 0;
        break;
    }
    const after = (await read(world, job)).autoDisabled;
    if ((after?.probeId ?? null) !== null) {
      assert(
        running.some((one) => one.occurrenceId === after?.probeId),
        "a probe that is on is a run that is on",
      );
    }
  }
}

function newsOf(answers: readonly RecordAnswer[]): readonly string[] {
  return answers.flatMap((answer) => answer.autoDisable ?? []).map((change) => change.kind);
}

async function read(world: StoreWorld, { id }: Job): Promise<Job> {
  const job = await world.store.jobs.get(id);
  assert(job !== null);
  return job;
}

async function fail(world: StoreWorld, job: Job, times: number): Promise<void> {
  for (let index = 0; index < times; index++) await world.record(await world.running(job), PERMANENT);
}

function minutely(world: StoreWorld): Partial<Job> {
  const parsed = parseSchedule({ cronExpression: "* * * * *" }, { jobId: "job-1", now: world.now });
  assert(parsed.ok);
  return { schedule: parsed.schedule, nextDueAt: Math.ceil((world.now + 1) / MINUTE) * MINUTE };
}

/** A job of each minute, disabled until five minutes from now. */
async function disabledMinutely(world: StoreWorld): Promise<Job> {
  const job = await world.saved({ ...minutely(world), autoDisable: RULE });
  await world.lead();
  await fail(world, job, 3);
  return await read(world, job);
}

function planOf(world: StoreWorld, job: Job) {
  const planned = planDecision(job, world.now, {
    misfireThresholdMs: MINUTE,
    maxDueTimes: 500,
    catchUpSpacingMs: 0,
    pace: (at) => at,
    instanceId: "api-1",
    defaults: DEFAULTS,
    newId: () => world.random.uuid(),
  });
  assert(planned.ok, "nothing is due");
  return planned.decision;
}

/** What the dispatcher does: decides what is due now. */
async function decideDue(world: StoreWorld, job: Job) {
  return await world.decide([planOf(world, await read(world, job))]);
}
