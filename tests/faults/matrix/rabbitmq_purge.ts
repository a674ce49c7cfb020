/** Messages are purged while their queue is never empty for long; too long for a test of every day. */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { BrokerHand } from "../../support/broker_hand.ts";
import type { Load } from "../../support/load.ts";
import { recovers } from "../../support/recovery.ts";
import { describe, faultTest, type Ground } from "../../support/under_load.ts";

const JOBS = "jobs.recorder.wildcard";
/** How long the runs last that keep all lanes taken: not alike, so that a lane comes free every now and then. Milliseconds. */
const BUSY_MS = [2000, 3000, 5000];
/** So many messages wait at least, far more than 64 lanes take between two looks at the queue. */
const FULL = 20;
const LOOK_MS = 100;
/** About 20 are triggered a second, for three quarters of a minute. More would mean that the queue does not stay full. */
const TRIGGERS_AT_MOST = 2000;

faultTest(
  "the queue of jobs is purged while it stays full: what was lost runs all the same",
  {
    servers: { own: ["rabbitmq"] },
    cluster: { apis: 2, workers: 2 },
    load: { jobsPerPolicy: 1, triggersPerSecond: 5 },
  },
  async (ground) => {
    await using hand = await BrokerHand.open(ground.servers.rabbitmq.url);
    await purgedWhileFull(ground, hand);
  },
  (judgement) => assertEquals(judgement.figures.byStatus["Failed"] ?? 0, 0, describe(judgement)),
);

/** Nothing says that messages are gone: the queue is there, it has its consumers, and it is never empty for long. */
async function purgedWhileFull(ground: Ground, hand: BrokerHand): Promise<void> {
  await using full = new KeptFull(hand, ground.load);
  await full.begin();
  await recovers(ground, "queue of jobs purged while it stays full", async () => {
    const purged = await hand.purge(JOBS);
    await full.again();
    ground.figure("messages purged", purged);
    assert(purged > 0, "messages waited");
  });
  ground.figure("triggered to keep it full", full.triggered);
  ground.figure("fewest messages seen while it was kept full", full.fewest);
}

/** Triggers more whenever little waits in the queue of jobs, so that all lanes are taken and messages wait. */
class KeptFull implements AsyncDisposable {
  triggered = 0;
  /** Seen since it was filled last. */
  fewest = Infinity;
  readonly #jobs: string[] = [];
  readonly #stopping = new AbortController();
  #kept: Promise<void> = Promise.resolve();

  constructor(private readonly hand: BrokerHand, private readonly load: Load) {}

  async begin(): Promise<void> {
    for (const workMs of BUSY_MS) {
      this.#jobs.push(
        await this.load.createJob({ policy: "Allow", workMs, isTriggered: true, data: { beatMs: 500 } }),
      );
    }
    await this.#fill();
    this.#kept = this.#keep();
    this.#kept.catch(() => {}); // thrown when it is put away
  }

  async again(): Promise<void> {
    await this.#fill();
    this.fewest = Infinity;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#kept;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.fewest = Math.min(this.fewest, await this.hand.count(JOBS));
      await this.#fill();
      await delay(LOOK_MS, { signal }).catch(() => {});
    }
  }

  async #fill(): Promise<void> {
    while (!this.#stopping.signal.aborted && await this.hand.count(JOBS) < FULL) {
      assert(this.triggered < TRIGGERS_AT_MOST, `${TRIGGERS_AT_MOST} triggers do not keep ${JOBS} full`);
      await Promise.all(Array.from({ length: FULL / 2 }, () => {
        this.triggered += 1;
        return this.load.trigger(this.#jobs[this.triggered % this.#jobs.length] ?? "");
      }));
    }
  }
}
