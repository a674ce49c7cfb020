/**
 * The store against a model of a page: any commands, in any order, late and repeated, leave both in the same state.
 * The model holds the rules of design §2 and §3 and nothing of how they are kept.
 */
import type { ConcurrencyPolicy, Job } from "../../actors/domain/job.ts";
import type { JobMessage, Outcome } from "../../actors/domain/message.ts";
import { isFinal, OCCURRENCE_STATUSES, type OccurrenceStatus } from "../../actors/domain/occurrence.ts";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { COMPLETED, FAILED, HANDED_BACK, LEASE_MS, type StoreFactory, StoreWorld } from "./store_fixture.ts";

const POLICIES: readonly ConcurrencyPolicy[] = ["Skip", "Queue", "Allow"];
const MAX_ATTEMPTS = 2;
const LOST_AT_MOST = 2;
/** Longer than any back-off. */
const LONG_MS = 2 * 3_600_000;

const OUTCOMES: Readonly<Record<string, Outcome>> = {
  completed: COMPLETED,
  failed: FAILED,
  permanent: { ...FAILED, permanent: true },
  timedOut: { kind: "timedOut", rung: "signal", limitMs: 1 },
  cancelled: { kind: "cancelled", rung: "signal" },
  handedBack: HANDED_BACK,
};

interface Entry {
  readonly id: string;
  readonly job: number;
  readonly scheduledFor: number;
  status: OccurrenceStatus;
  token: number;
  attempt: number;
  lost: number;
  isCancelAsked: boolean;
  /** Null while it waits for the run before it. */
  readyAt: number | null;
}

class Model {
  readonly entries: Entry[] = [];

  active(job: number): Entry[] {
    return this.entries.filter((one) => one.job === job && !isFinal(one.status));
  }

  holders(job: number): Entry[] {
    return this.active(job).filter((one) => one.readyAt !== null);
  }

  /** Gives what becomes of it; null when a trigger is refused. */
  add(
    id: string,
    job: number,
    scheduledFor: number,
    by: "due time" | "trigger",
    isForced = false,
  ): Entry | null {
    const policy = POLICIES[job];
    const isHeld = this.holders(job).length > 0;
    if (isHeld && policy === "Skip" && by === "trigger" && !isForced) return null;
    const isSkipped = isHeld && policy === "Skip" && !isForced;
    const entry: Entry = {
      id,
      job,
      scheduledFor,
      status: isSkipped ? "Skipped" : "Queued",
      token: 0,
      attempt: 0,
      lost: 0,
      isCancelAsked: false,
      readyAt: isHeld && policy === "Queue" ? null : 0,
    };
    this.entries.push(entry);
    return entry;
  }

  claim(one: Entry, token: number, now: number): boolean {
    const isGranted = one.status === "Queued" && one.token === token && one.readyAt !== null &&
      one.readyAt <= now;
    if (isGranted) {
      one.status = "Running";
      one.token += 1;
      one.attempt += 1;
    }
    return isGranted;
  }

  report(one: Entry, token: number, outcome: string, now: number): boolean {
    if (one.status !== "Running" || one.token !== token) return false;
    const isAgain = outcome === "handedBack" || (outcome === "failed" && one.attempt < MAX_ATTEMPTS);
    if (isAgain && !one.isCancelAsked) {
      one.status = "Queued";
      if (outcome === "handedBack") one.attempt -= 1;
      one.readyAt = outcome === "handedBack" ? now : now + 1;
    } else if (one.isCancelAsked && (isAgain || outcome === "failed" || outcome === "permanent")) {
      this.end(one, "Cancelled");
    } else {
      this.end(
        one,
        outcome === "completed"
          ? "Completed"
          : outcome === "timedOut"
          ? "TimedOut"
          : outcome === "cancelled"
          ? "Cancelled"
          : "Failed",
      );
    }
    return true;
  }

  lose(one: Entry, now: number): void {
    one.lost += 1;
    if (one.isCancelAsked) this.end(one, "Cancelled");
    else if (one.lost >= LOST_AT_MOST) this.end(one, "Failed");
    else {
      one.status = "Queued";
      one.attempt -= 1;
      one.readyAt = now;
    }
  }

  cancel(one: Entry): void {
    if (one.status === "Queued") this.end(one, "Cancelled");
    else if (one.status === "Running") one.isCancelAsked = true;
  }

  end(one: Entry, status: OccurrenceStatus): void {
    one.status = status;
  }

  /** After a transaction: the oldest waiting run of each job that nothing holds may start. */
  release(now: number): string[] {
    return POLICIES.flatMap((_, job) => {
      const waiting = this.active(job).filter((one) => one.readyAt === null);
      // Of those due at the same time the first to come is the first to go: the sort is stable.
      const [next] = waiting.toSorted((one, other) => one.scheduledFor - other.scheduledFor);
      if (next === undefined || this.holders(job).length > 0) return [];
      next.readyAt = now;
      return [next.id];
    });
  }
}

const pick = fc.nat(1000);
const job = fc.nat(POLICIES.length - 1);
const COMMAND = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("decide" as const), job, isLate: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("trigger" as const), job, isForced: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("claim" as const), pick }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("report" as const),
      pick,
      outcome: fc.constantFrom(...Object.keys(OUTCOMES)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("cancel" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reap" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const) }) },
);
type Command = typeof COMMAND extends fc.Arbitrary<infer T> ? T : never;

export function ledgerModelContract(name: string, factory: StoreFactory): void {
  Deno.test(`${name} ledger: behaves as its model under any commands`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(COMMAND, { minLength: 10, maxLength: 60 }),
        (commands) =>
          StoreWorld.within(factory, async (world) => {
            const run = await Run.start(world);
            for (const command of commands) await run.execute(command);
            await run.compareHistories();
          }),
      ),
      { numRuns: 50 },
    );
  });
}

class Run {
  readonly #model = new Model();
  /** Every message that ever was, and every claim that was granted: late ones are part of the game. */
  readonly #messages: JobMessage[] = [];
  readonly #claimed: JobMessage[] = [];

  private constructor(private readonly world: StoreWorld, private readonly jobs: Job[]) {}

  static async start(world: StoreWorld): Promise<Run> {
    const jobs: Job[] = [];
    for (const concurrentExecutionPolicy of POLICIES) {
      jobs.push(
        await world.saved({
          concurrentExecutionPolicy,
          maxRetries: MAX_ATTEMPTS - 1,
          nextDueAt: world.now,
        }),
      );
    }
    await world.lead();
    return new Run(world, jobs);
  }

  async execute(command: Command): Promise<void> {
    switch (command.do) {
      case "decide":
        await this.#decide(command.job, command.isLate);
        break;
      case "trigger":
        await this.#trigger(command.job, command.isForced);
        break;
      case "claim":
        await this.#claim(command.pick);
        break;
      case "report":
        await this.#report(command.pick, command.outcome);
        break;
      case "cancel":
        await this.#cancel(command.pick);
        break;
      case "reap":
        await this.#reap();
        break;
      case "wait":
        await this.world.clock.advance(LONG_MS);
        break;
    }
    const counts = (await this.world.store.history.counts()).byStatus;
    for (const status of OCCURRENCE_STATUSES) {
      const expected = this.#model.entries.filter((one) => one.status === status).length;
      assertEquals(counts[status], expected, `${status} after ${JSON.stringify(command)}`);
    }
  }

  async compareHistories(): Promise<void> {
    for (const entry of this.#model.entries) {
      const { occurrence, changes, attempts } = await this.world.detail(entry.id);
      assertEquals(
        [occurrence.status, occurrence.token, occurrence.attempt, occurrence.readyAt === null],
        [
          entry.status,
          entry.token,
          entry.attempt,
          occurrence.status === "Skipped" || entry.readyAt === null,
        ],
      );
      assertEquals(
        attempts.map((one) => one.token),
        Array.from({ length: entry.token }, (_, index) => index + 1),
      );
      assertEquals(changes.at(-1)?.to, entry.status);
      for (const [index, change] of changes.entries()) {
        assertEquals(change.from, index === 0 ? null : changes[index - 1]?.to);
      }
    }
  }

  async #decide(index: number, isLate: boolean): Promise<void> {
    const { world } = this;
    const before = this.jobs[index];
    assert(before !== undefined && before.nextDueAt !== null);
    const decision = world.decision(isLate ? { ...before, nextDueAt: before.nextDueAt - 1000 } : before);
    const answer = await world.decide([decision]);
    assertEquals(answer.conflicts, isLate ? [before.id] : []);
    if (isLate) return;
    this.jobs[index] = { ...before, nextDueAt: decision.nextDueAt };
    const entry = this.#model.add(decision.slots[0]?.occurrenceId ?? "", index, before.nextDueAt, "due time");
    const runs = entry?.status === "Queued" && entry.readyAt !== null;
    assertEquals(answer.messages.map((one) => one.occurrenceId), runs ? [entry.id] : []);
    this.#messages.push(...answer.messages);
  }

  async #trigger(index: number, force: boolean): Promise<void> {
    const { world } = this;
    const job = this.jobs[index];
    assert(job !== undefined);
    const answer = await world.trigger(job, { force });
    const id = answer.ok ? answer.occurrenceIds[0] ?? "" : "";
    const entry = this.#model.add(id, index, world.now, "trigger", force);
    assertEquals(answer.ok, entry !== null);
    if (!answer.ok) return;
    assertEquals(answer.messages.length, entry?.readyAt === null ? 0 : 1);
    this.#messages.push(...answer.messages);
  }

  async #claim(pick: number): Promise<void> {
    const { world } = this;
    // What recovery would publish may be claimed as well as what was published.
    const recoverable = await world.store.ledger.recoverable(world.now, 100);
    const choices = [...this.#messages, ...recoverable.map((one) => one.message)];
    const message = choices[pick % choices.length];
    if (message === undefined) return;
    const [answer] = await world.attempts.claim([{ message, workerId: "p", instanceId: "i" }], LEASE_MS);
    const entry = this.#entry(message);
    assertEquals(answer?.ok, this.#model.claim(entry, message.token, world.now));
    if (answer?.ok) {
      assertEquals([answer.token, answer.attempt], [entry.token, entry.attempt]);
      this.#claimed.push({ ...message, token: answer.token });
    }
  }

  async #report(pick: number, outcome: string): Promise<void> {
    const { world } = this;
    const message = this.#claimed[pick % this.#claimed.length];
    const word = OUTCOMES[outcome];
    if (message === undefined || word === undefined) return;
    const answer = await world.record(message, word);
    const entry = this.#entry(message);
    const isApplied = this.#model.report(entry, message.token, outcome, world.now);
    assertEquals([answer.changed.length, answer.stale], isApplied ? [1, 0] : [0, 1]);
    this.#checkReleased(
      answer.released,
      isApplied && entry.status === "Queued" && outcome === "handedBack" ? [entry.id] : [],
    );
  }

  async #cancel(pick: number): Promise<void> {
    const entry = this.#model.entries[pick % this.#model.entries.length];
    if (entry === undefined) return;
    const answer = await this.world.cancel(entry.id);
    this.#model.cancel(entry);
    const record = answer.ok && answer.state === "cancelled" ? answer.record : null;
    this.#checkReleased(record?.released ?? [], []);
  }

  async #reap(): Promise<void> {
    const { world } = this;
    const silent = await world.store.ledger.silentAttempts(Infinity, 1000);
    const running = this.#model.entries.filter((one) => one.status === "Running");
    assertEquals(silent.map((one) => one.occurrenceId).sort(), running.map((one) => one.id).sort());
    const record = await world.store.ledger.reap(world.epoch, silent, world.now, 0.5);
    assert(record !== null);
    for (const one of running) this.#model.lose(one, world.now);
    const again = running.filter((one) => one.status === "Queued").map((one) => one.id);
    this.#checkReleased(record.released, again);
  }

  #checkReleased(released: readonly JobMessage[], again: readonly string[]): void {
    const expected = [...again, ...this.#model.release(this.world.now)];
    assertEquals(released.map((one) => one.occurrenceId).sort(), expected.sort());
    this.#messages.push(...released);
  }

  #entry(message: JobMessage): Entry {
    const entry = this.#model.entries.find((one) => one.id === message.occurrenceId);
    assert(entry !== undefined);
    return entry;
  }
}
