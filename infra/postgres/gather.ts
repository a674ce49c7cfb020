/**
 * Many calls, one statement: calls that come while one is under way go together in the next, so that the busier the
 * store is, the more share a round trip, a commit and its sync.
 */
import { setImmediate } from "node:timers";
import { isRefusedRow } from "./fault.ts";

interface Waiting<Call, Answer> {
  readonly call: Call;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export interface GatherOptions<Call, Answer> {
  /** Answers in the order of the calls. */
  readonly run: (calls: readonly Call[]) => Promise<readonly Answer[]>;
  /** How much of a batch a call takes. */
  readonly weigh: (call: Call) => number;
  /** Most weight in one batch; a heavier call goes alone. */
  readonly most: number;
  /** Batches under way at the same time. */
  readonly lanes: number;
}

export class Gather<Call, Answer> {
  #waiting: Waiting<Call, Answer>[] = [];
  #underWay = 0;

  constructor(private readonly options: GatherOptions<Call, Answer>) {}

  add(call: Call): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject });
      if (this.#underWay < this.options.lanes) {
        this.#underWay += 1;
        // What is called in this turn of the event loop goes together.
        setImmediate(() => this.#work());
      }
    });
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) await this.#runBatch(this.#take());
    this.#underWay -= 1;
  }

  #take(): readonly Waiting<Call, Answer>[] {
    const { weigh, most } = this.options;
    let weight = 0;
    let count = 0;
    for (const { call } of this.#waiting) {
      weight += weigh(call);
      if (count > 0 && weight > most) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #runBatch(batch: readonly Waiting<Call, Answer>[]): Promise<void> {
    try {
      const answers = await this.options.run(batch.map((one) => one.call));
      for (const [index, one] of batch.entries()) one.resolve(answers[index] as Answer);
    } catch (error) {
      if (batch.length > 1 && isRefusedRow(error)) {
        // One of them is at fault: it must not harm the others.
        for (const one of batch) await this.#runBatch([one]);
      } else {
        for (const one of batch) one.reject(error);
      }
    }
  }
}
