/**
 * Concurrency policies while many act at once: due times, triggers, claims, ends, cancels and losses of one round are
 * asked for side by side, in any number and order. After each round the promises of Skip, Queue and Allow are looked up
 * in the history itself.
 */
import { MAX_WAITING } from "../../actors/domain/concurrency.ts";
import type { ConcurrencyPolicy, Job } from "../../actors/domain/job.ts";
import type { JobMessage, Outcome } from "../../actors/domain/message.ts";
import { isFinal } from "../../actors/domain/occurrence.ts";
import type { OccurrenceSummary } from "../../actors/ports/store.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { COMPLETED, FAILED, HANDED_BACK, LEASE_MS, type StoreFactory, StoreWorld } from "./store_fixture.ts";

const RUNS = 40;
const PAGE = 2000;
/** Between two rounds: longer than the first back-offs, so that retries come as well. */
const ROUND_MS = 30_000;

const OUTCOMES: readonly Outcome[] = [
  COMPLETED,
  COMPLETED,
  FAILED,
  { ...FAILED, permanent: true },
  HANDED_BACK,
];

const COMMAND = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ do: "decide" as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("trigger" as const), isForced: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("claim" as const), pick: fc.nat(1000) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      pick: fc.nat(1000),
      outcome: fc.nat(OUTCOMES.length - 1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("cancel" as const), pick: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.constant({ do: "lose" as const }) },
);
type Command = typeof COMMAND extends fc.Arbitrary<infer T> ? T : never;

const ROUNDS = fc.array(fc.array(COMMAND, { minLength: 1, maxLength: 7 }), { minLength: 3, maxLength: 14 });

export function concurrencyContract(name: string, factory: StoreFactory): void {
  /** One store for all runs of a promise, and a new job for each: opening one takes longer than the run. */
  const promise = (
    sentence: string,
    policy: ConcurrencyPolicy,
    check: (history: PolicyRun) => Promise<void>,
  ) =>
    Deno.test(`${name} concurrency: ${sentence}`, () =>
      StoreWorld.within(factory, async (world) => {
        await world.lead();
        await fc.assert(
          fc.asyncProperty(ROUNDS, async (rounds) => {
            const run = await PolicyRun.start(world, policy);
            for (const round of rounds) {
              await run.round(round);
              await check(run);
            }
          }),
          { numRuns: RUNS },
        );
      }));

  promise(
    "Skip never has two runs on that nobody forced, and each skipped due time names the run in its way",
    "Skip",
    async (run) => {
      const active = run.rows.filter((one) => !isFinal(one.status));
      assert(active.filter(({ id }) => !run.forced.has(id)).length <= 1, `on at once: ${ids(active)}`);
      for (const one of run.rows) if (one.status === "Skipped") await run.namesItsHolder(one);
    },
  );

  promise(
    "Queue lets one run hold the job at a time, the one due first goes first, and nobody is left behind",
    "Queue",
    (run) => {
      const active = run.rows.filter((one) => !isFinal(one.status));
      const waiting = active.filter(({ readyAt, status }) => status === "Queued" && readyAt === null);
      const holding = active.filter((one) => !waiting.includes(one));
      assert(holding.length <= 1, `hold the job at once: ${ids(holding)}`);
      assert(holding.length === 1 || waiting.length === 0, `nobody holds the job, waiting: ${ids(waiting)}`);
      assertEquals(run.rows.filter(({ status }) => status === "Skipped"), []);
      // What waited before this round and waits still was passed over by nobody that is due later.
      const [holder] = holding;
      const passedOver = waiting.filter(({ id, scheduledFor }) =>
        holder !== undefined && run.waitedBefore.has(holder.id) && run.waitedBefore.has(id) &&
        scheduledFor < holder.scheduledFor
      );
      assertEquals(ids(passedOver), "", `passed over by ${holder?.id}`);
      return Promise.resolve();
    },
  );

  promise("Allow lets every due time and every trigger run", "Allow", (run) => {
    assertEquals(run.rows.filter(({ status, readyAt }) => status === "Skipped" || readyAt === null), []);
    assertEquals(run.refused, 0);
    return Promise.resolve();
  });

  Deno.test(`${name} concurrency: Queue never has more waiting than its bound, and says so`, () =>
    StoreWorld.within(factory, async (world) => {
      await world.lead();
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: MAX_WAITING - 3, max: MAX_WAITING + 1 }),
          fc.array(fc.constantFrom("decide" as const, "trigger" as const), { minLength: 1, maxLength: 8 }),
          async (backlog, arrivals) => {
            const run = await PolicyRun.start(world, "Queue");
            assert((await world.trigger(run.job, { count: backlog })).ok);
            await run.round(
              arrivals.map((what) => what === "decide" ? { do: what } : { do: what, isForced: false }),
            );
            const waiting = run.rows.filter(({ status, readyAt }) => status === "Queued" && readyAt === null);
            const skipped = run.rows.filter(({ status }) => status === "Skipped");
            // However often a due time is decided in a round, it comes once.
            const came = backlog + arrivals.filter((what) => what === "trigger").length +
              (arrivals.includes("decide") ? 1 : 0);
            assertEquals(waiting.length, Math.min(MAX_WAITING, came - 1));
            assertEquals(skipped.length + run.refused, Math.max(0, came - 1 - MAX_WAITING));
            assert(skipped.every(({ origin }) => origin === "schedule"), "a trigger is refused, not skipped");
            for (const one of skipped) {
              assertMatch(one.reason ?? "", /^Skipped: 1000 occurrences already wait/);
            }
          },
        ),
        { numRuns: 6 },
      );
    }));
}

class PolicyRun {
  /** The whole history of the job, after the last round. */
  rows: readonly OccurrenceSummary[] = [];
  /** Which waited for their turn before the last round. */
  waitedBefore = new Set<string>();
  refused = 0;
  readonly forced = new Set<string>();
  readonly #messages: JobMessage[] = [];
  readonly #claimed: JobMessage[] = [];

  private constructor(private readonly world: StoreWorld, public job: Job) {}

  static async start(world: StoreWorld, policy: ConcurrencyPolicy): Promise<PolicyRun> {
    const job = await world.saved({
      concurrentExecutionPolicy: policy,
      maxRetries: 2,
      nextDueAt: world.now + ROUND_MS,
    });
    return new PolicyRun(world, job);
  }

  /** All at once; what fails to be decided twice, or is refused, is part of the game. */
  async round(commands: readonly Command[]): Promise<void> {
    await this.world.clock.advance(ROUND_MS);
    this.waitedBefore = new Set(
      this.rows.filter(({ status, readyAt }) => status === "Queued" && readyAt === null).map(({ id }) => id),
    );
    const recoverable = await this.world.store.ledger.recoverable(this.world.now, PAGE);
    const own = recoverable.map(({ message }) => message).filter(({ jobId }) => jobId === this.job.id);
    const choices = [...this.#messages, ...own];
    await Promise.all(commands.map((command) => this.#execute(command, choices)));
    const stored = await this.world.store.jobs.get(this.job.id);
    assert(stored !== null);
    this.job = stored;
    this.rows = (await this.world.store.history.occurrences({ jobId: this.job.id }, PAGE, null)).items;
    const due = this.rows.filter(({ origin }) => origin === "schedule").map(({ scheduledFor }) =>
      scheduledFor
    );
    assertEquals(new Set(due).size, due.length, "each due time is decided once");
  }

  async namesItsHolder(skipped: OccurrenceSummary): Promise<void> {
    const { blockedBy } = await this.world.detail(skipped.id);
    const holder = this.rows.find(({ id }) => id === blockedBy);
    assert(holder !== undefined, `${skipped.id} names ${blockedBy}, which is no run of this job`);
    assert(skipped.reason?.includes(holder.id), skipped.reason ?? "no reason");
    assert(holder.status !== "Skipped" && holder.createdAt <= skipped.createdAt, "it was there before");
    assert(holder.endedAt === null || holder.endedAt >= skipped.createdAt, "it was on at that moment");
  }

  async #execute(command: Command, choices: readonly JobMessage[]): Promise<void> {
    const { world } = this;
    switch (command.do) {
      case "decide": {
        const decision = world.decision(this.job, { nextDueAt: (this.job.nextDueAt ?? 0) + ROUND_MS });
        this.#messages.push(...(await world.decide([decision])).messages);
        break;
      }
      case "trigger": {
        const answer = await world.trigger(this.job, { force: command.isForced });
        if (!answer.ok) {
          assertEquals(
            answer.reason,
            this.job.concurrentExecutionPolicy === "Skip" ? "overlap" : "queue-full",
          );
          this.refused += 1;
          break;
        }
        this.#messages.push(...answer.messages);
        if (command.isForced) { for (const id of answer.occurrenceIds) this.forced.add(id); }
        break;
      }
      case "claim": {
        const message = choices[command.pick % choices.length];
        if (message === undefined) break;
        const [answer] = await world.attempts.claim([{ message, workerId: "p", instanceId: "i" }], LEASE_MS);
        if (answer?.ok) this.#claimed.push({ ...message, token: answer.token });
        break;
      }
      case "end": {
        const message = this.#claimed[command.pick % this.#claimed.length];
        const outcome = OUTCOMES[command.outcome];
        if (message === undefined || outcome === undefined) break;
        this.#messages.push(...(await world.record(message, outcome)).released);
        break;
      }
      case "cancel": {
        const one = this.rows[command.pick % this.rows.length];
        if (one === undefined) break;
        const answer = await world.cancel(one.id);
        if (answer.ok && answer.state === "cancelled") this.#messages.push(...answer.record.released);
        break;
      }
      case "lose": {
        const silent = await world.store.ledger.silentAttempts(Infinity, PAGE);
        const record = await world.store.ledger.reap(world.epoch, silent, world.now, 0.5);
        this.#messages.push(...(record?.released ?? []).filter(({ jobId }) => jobId === this.job.id));
        break;
      }
      default:
        command satisfies never;
    }
  }
}

function ids(rows: readonly OccurrenceSummary[]): string {
  return rows.map(({ id, status }) => `${id} ${status}`).join(", ");
}
