/**
 * Lanes that do not idle, shown with claims that take time: the next run is claimed before its lane is free. One suite,
 * two grounds. At no moment do more runs than there are lanes.
 */
import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Adapters } from "../../infra/adapters.ts";
import type { Ground } from "../support/ground.ts";
import { FLOW_START, type FlowPlace } from "../support/flow.ts";
import { type Behaviour, completed, offer } from "../support/in_process_pool.ts";
import { Node, settle } from "../support/node.ts";

const RUN_MS = 100;
const CLAIM_MS = 5;
/** After so many equal runs their length is trusted. */
const LEARNT = 12;
/** Of which two lanes take two in 100 ms, but one when some were shorter. */
const SPARE_MS = RUN_MS + 2;
/** A run that nobody expected. */
const LONG_MS = 2000;

/** Claims are answered so much later. Notes in `prefetches` how many messages are asked for. */
function slowClaims(clock: ManualClock, prefetches: number[]): (adapters: Adapters) => Adapters {
  return ({ attempts, queue, ...rest }) => ({
    ...rest,
    queue: {
      publish: (messages) => queue.publish(messages),
      consume: async (options, onDeliveries) => {
        const subscription = await queue.consume(options, onDeliveries);
        return {
          setPrefetch: (count) => {
            prefetches.push(count);
            subscription.setPrefetch(count);
          },
          stop: () => subscription.stop(),
        };
      },
      depth: () => queue.depth(),
      onDrained: (listener) => queue.onDrained(listener),
      canPublish: () => queue.canPublish(),
    },
    attempts: {
      claim: async (requests, leaseMs) => {
        await new Promise<void>((resolve) => clock.timer(CLAIM_MS, resolve));
        return await attempts.claim(requests, leaseMs);
      },
      renew: (...args) => attempts.renew(...args),
    },
  });
}

/** Runs of equal length, but for some. Notes when each began, and how many were on. */
class Runs {
  readonly begun: number[] = [];
  readonly types: string[] = [];
  most = 0;
  #on = 0;

  constructor(
    private readonly clock: ManualClock,
    private readonly setting: Pick<Setting, "runMs" | "lengths">,
  ) {}

  readonly behaviour: Behaviour = ({ jobType }) => {
    const { runMs = RUN_MS, lengths } = this.setting;
    const afterMs = lengths?.[this.begun.length] ?? runMs;
    this.begun.push(this.clock.mono());
    this.types.push(jobType);
    this.#on += 1;
    this.most = Math.max(this.most, this.#on);
    this.clock.timer(afterMs, () => this.#on -= 1);
    return { afterMs, outcome: completed };
  };

  /** Milliseconds between the beginnings on one lane, from the run of this number on. */
  gaps(from: number, lanes: number): readonly number[] {
    return this.begun.slice(from + lanes).map((at, index) => at - (this.begun[from + index] ?? 0));
  }
}

/** A node whose claims are slow; runs last `runMs`, `lengths` has those that differ, by number. */
interface Setting {
  readonly lanes: number;
  readonly types: Readonly<Record<string, number>>;
  readonly runMs?: number;
  readonly lengths?: Readonly<Record<number, number>>;
}

type Work = (
  at: {
    readonly node: Node;
    readonly clock: ManualClock;
    readonly runs: Runs;
    readonly ground: Ground;
    /** How many messages the types asked for, in turn. */
    readonly prefetches: readonly number[];
  },
) => Promise<
  Node | void
>;

async function stateOf(node: Node, id: string | undefined): Promise<readonly [string, number] | undefined> {
  await settle(node);
  const one = await node.adapters.store.history.occurrence(id ?? "");
  return one === null ? undefined : [one.occurrence.status, one.occurrence.attempt];
}

/** Lets time pass in small steps until something is so. */
async function until(isSo: () => boolean, clock: ManualClock): Promise<void> {
  const end = clock.mono() + 6 * LEARNT * (RUN_MS + CLAIM_MS);
  while (!isSo()) {
    assert(clock.mono() < end, "it never is");
    await clock.advance(CLAIM_MS);
  }
}

/** Occurrences by status. */
async function counts(node: Node, jobId: string): Promise<Readonly<Record<string, number>>> {
  const found: Record<string, number> = {};
  await settle(node);
  for (const { status } of await node.occurrences(jobId)) found[status] = (found[status] ?? 0) + 1;
  return found;
}

const allow = { concurrentExecutionPolicy: "Allow" } as const;

function promiseAt({ name, openGround, test }: FlowPlace) {
  return (sentence: string, setting: Setting, work: Work) =>
    test(`${name}: ${sentence}`, async () => {
      await using ground = await openGround();
      const clock = new ManualClock({ now: FLOW_START });
      const runs = new Runs(clock, setting);
      const prefetches: number[] = [];
      await Node.during({
        ground,
        clock,
        maxParallelJobs: setting.lanes,
        offers: Object.entries(setting.types).map(([type, maxParallelJobs]) =>
          offer(type, { maxParallelJobs })
        ),
        behaviour: runs.behaviour,
        replace: slowClaims(clock, prefetches),
      }, (node) => work({ node, clock, runs, ground, prefetches }));
    });
}

export function lanesSuite(place: FlowPlace): void {
  const promise = promiseAt(place);
  const two = { lanes: 2, types: { SampleJob: 2 } };

  promise(
    "a lane begins its next run when the run before it ends, and no more run than there are lanes",
    two,
    async (
      { node, clock, runs },
    ) => {
      const job = await node.createJob(allow);
      await node.trigger(job.id, 2 * LEARNT);
      await clock.advance(2 * LEARNT * (RUN_MS + CLAIM_MS));
      assertEquals([runs.begun.length, runs.most], [2 * LEARNT, 2]);
      const gaps = runs.gaps(LEARNT, 2);
      assertEquals(gaps, gaps.map(() => RUN_MS), "no lane waited for its claim");
      assertEquals(await counts(node, job.id), { Completed: 2 * LEARNT });
    },
  );

  promise(
    "what was claimed for a lane that does not come free is handed back uncounted, and then nothing is claimed ahead",
    { lanes: 1, types: { SampleJob: 1 }, lengths: { [LEARNT]: LONG_MS } },
    async ({ node, clock, runs }) => {
      const job = await node.createJob(allow);
      await node.trigger(job.id, LEARNT + 1);
      await until(() => runs.begun.length > LEARNT, clock);
      const [next] = await node.trigger(job.id);
      await clock.advance(RUN_MS);
      assertEquals(
        await stateOf(node, next),
        ["Running", 1],
        "claimed for the lane that should be free by now",
      );
      await clock.advance(LONG_MS / 2);
      assertEquals(await stateOf(node, next), ["Queued", 0], "handed back");
      assertEquals(runs.begun.length, LEARNT + 1);
      await clock.advance(LONG_MS);
      assertEquals(await stateOf(node, next), ["Completed", 1]);

      await node.trigger(job.id, LEARNT);
      const from = runs.begun.length;
      await clock.advance(LEARNT * (RUN_MS + CLAIM_MS) * 2);
      const gaps = runs.gaps(from, 1);
      assertEquals(gaps, gaps.map(() => RUN_MS + CLAIM_MS), "each lane was free before the next was claimed");
    },
  );

  promise(
    "what was handed back without a run tells nothing of how long runs are: no more messages are asked for ahead",
    { lanes: 2, types: { SampleJob: 2 }, runMs: SPARE_MS, lengths: { [2 * LEARNT]: LONG_MS } },
    async ({ node, clock, runs, prefetches }) => {
      const job = await node.createJob(allow);
      await node.trigger(job.id, 3 * LEARNT);
      await until(() => runs.begun.length > 2 * LEARNT, clock);
      const before = prefetches.at(-1);
      assertEquals(before, 3, "two lanes, and what they take in 100 ms");
      await clock.advance(5 * RUN_MS);
      assertEquals(prefetches.at(-1), before);
      await clock.advance(LONG_MS);
      const attempts = (await node.occurrences(job.id)).map(({ attempt, token }) => `${attempt}/${token}`);
      assertEquals(attempts.filter((one) => one !== "1/1"), ["1/2"], "one was handed back");
    },
  );

  promise("what was claimed ahead is handed back when the worker stops, and runs elsewhere", two, async (
    { node, clock, runs, ground },
  ) => {
    const job = await node.createJob(allow);
    await node.trigger(job.id, LEARNT + 4);
    await until(() => runs.begun.length === LEARNT + 2, clock);
    await clock.advance(RUN_MS - 2 * CLAIM_MS);
    assertEquals(
      (await counts(node, job.id))["Running"],
      4,
      "two run, and two are claimed for when they end",
    );
    await node.stop();
    const other = await Node.start({ ground, clock, seed: 2 });
    await clock.advance(1000);
    await clock.advance(1000);
    assertEquals(await counts(other, job.id), { Completed: LEARNT + 4 });
    const attempts = (await other.occurrences(job.id)).map(({ attempt, token }) => [attempt, token]);
    assertEquals(attempts.filter(([attempt]) => attempt !== 1), [], "what was handed back does not count");
    assertEquals(attempts.filter(([, token]) => token === 2).length, 4);
    return other;
  });

  promise(
    "a claim that is answered when the worker is stopping is handed back, and runs elsewhere at once",
    two,
    async (
      { node, clock, ground },
    ) => {
      const job = await node.createJob(allow);
      await node.trigger(job.id);
      const stopped = node.stop();
      await clock.advance(2 * CLAIM_MS);
      await stopped;
      const other = await Node.start({ ground, clock, seed: 2 });
      await clock.advance(1000);
      const runs = (await other.occurrences(job.id)).map((
        { status, attempt, token },
      ) => [status, attempt, token]);
      assertEquals(runs, [["Completed", 1, 2]]);
      return other;
    },
  );
}

/** While all have work, none is without a run for three rounds: one turn may be missed, by a message that comes late. */
function eachHasItsTurn({ types: run }: Runs, types: readonly string[]): void {
  const rounds = 3 * types.length;
  for (let from = 0; from + rounds < run.length; from += rounds) {
    const some = run.slice(from, from + rounds);
    assertEquals(types.filter((type) => !some.includes(type)), [], `without a run among ${some}`);
  }
}

/** On its own, for it looks at each ten milliseconds. */
export function turnsSuite(place: FlowPlace): void {
  const promise = promiseAt(place);

  promise("types that share lanes take turns: nothing is claimed ahead while another type waits for a lane", {
    lanes: 1,
    types: { SampleJob: 1, OtherJob: 1 },
  }, async ({ node, clock, runs }) => {
    const one = await node.createJob(allow);
    const other = await node.createJob({ ...allow, jobType: "OtherJob" });
    await node.trigger(one.id, LEARNT);
    await node.trigger(other.id, LEARNT);
    for (let step = 0; step < 2 * LEARNT * RUN_MS; step += 2 * CLAIM_MS) {
      await clock.advance(2 * CLAIM_MS);
      const claimed = (await counts(node, one.id))["Running"] ?? 0;
      const others = (await counts(node, other.id))["Running"] ?? 0;
      assert(claimed + others <= 1, `${claimed} and ${others} are claimed on one lane`);
    }
    // To the end: a node that stops while a claim is under way would wait for time to pass.
    await until(() => runs.begun.length === 2 * LEARNT, clock);
    await clock.advance(RUN_MS);
    assertEquals(await counts(node, one.id), { Completed: LEARNT });
    assertEquals(await counts(node, other.id), { Completed: LEARNT });
    assertEquals(runs.most, 1);
    eachHasItsTurn(runs, ["SampleJob", "OtherJob"]);
  });

  const types = ["SampleJob", "OtherJob", "ThirdJob", "FourthJob", "FifthJob"];
  promise(
    "of many types that share a lane each has its turn: one that gave its messages back keeps its place",
    {
      lanes: 1,
      types: Object.fromEntries(types.map((type) => [type, 1])),
    },
    async ({ node, clock, runs }) => {
      for (const jobType of types) {
        const job = await node.createJob({ ...allow, jobType });
        await node.trigger(job.id, LEARNT);
      }
      await until(() => runs.begun.length === types.length * LEARNT, clock);
      await clock.advance(RUN_MS);
      assertEquals(runs.most, 1);
      eachHasItsTurn(runs, types);
    },
  );
}
