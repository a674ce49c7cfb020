/** A client of live events that connects again when its connection ends, as a dashboard does. */
import { delay } from "@std/async";

const RECONNECT_MS = 100;

interface OccurrenceChanged {
  readonly type: string;
  readonly occurrenceId: string;
  readonly status: string;
}

export class LiveClient implements AsyncDisposable {
  readonly #statuses = new Map<string, string[]>();
  readonly #ended: Promise<void>;
  #socket: WebSocket | null = null;
  #isSubscribed = false;
  #isOver = false;
  /** How many connections were opened and subscribed. */
  connections = 0;

  /** Follows all occurrences through the server at this address (http:). */
  constructor(private readonly url: string) {
    this.#ended = this.#follow();
  }

  /** True while it is connected and the server has taken its subscription. */
  get isSubscribed(): boolean {
    return this.#isSubscribed;
  }

  /** The statuses of an occurrence that it was told of, in order. */
  statusesOf(occurrenceId: string): readonly string[] {
    return this.#statuses.get(occurrenceId) ?? [];
  }

  async #follow(): Promise<void> {
    while (!this.#isOver) {
      await this.#connection();
      this.#isSubscribed = false;
      if (!this.#isOver) await delay(RECONNECT_MS);
    }
  }

  /** One connection, from its start to its end. */
  #connection(): Promise<void> {
    const socket = new WebSocket(`${this.url.replace("http:", "ws:")}/api/v1/live?types=occurrenceChanged`);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#heard(JSON.parse(data));
    socket.onerror = () => {}; // `close` follows
    return new Promise((resolve) => socket.onclose = () => resolve());
  }

  #heard(message: { readonly type: string; readonly events?: readonly OccurrenceChanged[] }): void {
    if (message.type === "subscribed") {
      this.#isSubscribed = true;
      this.connections += 1;
    }
    for (const { occurrenceId, status } of message.events ?? []) {
      this.#statuses.set(occurrenceId, [...this.statusesOf(occurrenceId), status]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#socket?.close();
    await this.#ended;
  }
}
