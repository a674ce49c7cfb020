/**
 * Items on their way to the broker. The first goes at once; while some messages are under way, what comes gathers
 * and goes together. Each call's promise settles when the message with its items is confirmed.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../actors/ports/clock.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import type { Publisher } from "./publisher.ts";

interface Call {
  /** JSON texts that are not in a message yet. */
  texts: string[];
  /** Messages with items of this call that are not confirmed yet. */
  open: number;
  readonly settle: (error: Error | null) => void;
}

export interface ItemSenderOptions {
  /** Name of the list in the message, and its type: "reports". */
  readonly kind: string;
  readonly queue: string;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly storeId: () => string | null;
}

const ITEMS_A_MESSAGE = 100;
const BYTES_A_MESSAGE = 512 * 1024;
/** Messages under way at once. */
const UNDER_WAY = 4;
/** How long an item waits for a connection before its call is rejected. */
const WAIT_MS = 5000;

export class ItemSender<T> {
  #calls: Call[] = [];
  #underWay = 0;
  #sequence = 0;
  #isAsked = false;
  #isClosed = false;
  #onIdle: () => void = () => {};

  constructor(private readonly options: ItemSenderOptions) {}

  /** Rejects with "Cannot send reports: …" when the items are not known to be safe: to be sent again. */
  send(items: readonly T[]): Promise<void> {
    if (items.length === 0) return Promise.resolve();
    if (this.#isClosed) return Promise.reject(new Unavailable(`Cannot send ${this.options.kind}: closed`));
    return new Promise((resolve, reject) => {
      const cancelDeadline = this.options.clock.timer(WAIT_MS, () => {
        this.#calls = this.#calls.filter((one) => one !== call);
        call.settle(
          new Unavailable(
            `Cannot send ${this.options.kind}: RabbitMQ does not take them within ${WAIT_MS} ms`,
          ),
        );
      });
      let isSettled = false;
      const call: Call = {
        texts: items.map((item) => JSON.stringify(item)),
        open: 0,
        settle: (error) => {
          if (isSettled) return;
          isSettled = true;
          cancelDeadline();
          if (error === null) resolve();
          else reject(error);
        },
      };
      this.#calls.push(call);
      this.#ask();
    });
  }

  /** There is a connection (again), or room. */
  wake(): void {
    this.#ask();
  }

  /** Waits up to `ms` for what is under way; rejects the rest. */
  async close(ms: number): Promise<void> {
    if (this.#underWay + this.#calls.length > 0 && this.options.publisher.isUp) {
      await new Promise<void>((resolve) => {
        const cancel = this.options.clock.timer(ms, resolve);
        this.#onIdle = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#isClosed = true;
    for (const call of this.#calls.splice(0)) {
      call.settle(new Unavailable(`Cannot send ${this.options.kind}: closed`));
    }
  }

  /** What is sent in one turn of the event loop travels together. */
  #ask(): void {
    if (this.#isAsked || this.#calls.length === 0) return;
    this.#isAsked = true;
    setImmediate(() => {
      this.#isAsked = false;
      while (this.#underWay < UNDER_WAY && this.#calls.length > 0 && this.options.publisher.isUp) {
        this.#sendOne();
      }
    });
  }

  #sendOne(): void {
    const { kind, queue, publisher, storeId } = this.options;
    const { texts, calls } = this.#gather();
    this.#underWay += 1;
    this.#sequence += 1;
    publisher.publish([{
      exchange: "",
      key: queue,
      content: Buffer.from(`{"v":1,"${kind}":[${texts.join(",")}]}`),
      properties: {
        messageId: `${kind}/${this.#sequence}`,
        type: kind,
        contentType: "application/json",
        persistent: true,
        mandatory: true,
        headers: { storeId: storeId() },
      },
    }]).then(([answer]) => {
      if (answer === "accepted") return null;
      // Its queue was deleted, or the broker takes nothing: declared anew, and the sender tries again.
      if (answer === "unroutable") publisher.queueIsGone(`the queue ${queue} is missing`);
      return new Unavailable(`Cannot send ${kind}: the broker answered ${answer}`);
    }, (error: Error) => error).then((error) => {
      this.#underWay -= 1;
      for (const call of calls) {
        call.open -= 1;
        if (error !== null) call.settle(error);
        else if (call.open === 0 && call.texts.length === 0) call.settle(null);
      }
      this.#ask();
      if (this.#underWay + this.#calls.length === 0) this.#onIdle();
    });
  }

  /** The next message's items, in order, with the calls they belong to. */
  #gather(): { readonly texts: readonly string[]; readonly calls: readonly Call[] } {
    const texts: string[] = [];
    const calls: Call[] = [];
    let bytes = 0;
    while (this.#calls[0] !== undefined && texts.length < ITEMS_A_MESSAGE && bytes < BYTES_A_MESSAGE) {
      const [call] = this.#calls;
      const taken = call.texts.splice(0, ITEMS_A_MESSAGE - texts.length);
      texts.push(...taken);
      bytes += taken.reduce((sum, one) => sum + one.length, 0);
      call.open += 1;
      calls.push(call);
      if (call.texts.length === 0) this.#calls.shift();
    }
    return { texts, calls };
  }
}
