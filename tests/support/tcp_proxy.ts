/** A proxy in front of a server, through which a test makes the network bad: late, slow, silent, cut. */
import { delay } from "@std/async";

const CHUNK_BYTES = 16 * 1024;
/** Slow passing is done in slices of this length. */
const SLICE_MS = 20;

/** How bytes pass now. */
interface Conditions {
  /** Each byte arrives this much later. Milliseconds. */
  readonly latencyMs: number;
  readonly bytesPerSecond: number;
  /** Nothing passes any more, and nobody is told. */
  readonly isSilent: boolean;
}

const GOOD: Conditions = { latencyMs: 0, bytesPerSecond: Infinity, isSilent: false };

export class TcpProxy implements AsyncDisposable {
  #listener: Deno.TcpListener | null = null;
  #accepting: Promise<void> = Promise.resolve();
  #conditions = GOOD;
  readonly #links = new Set<Link>();

  private constructor(readonly port: number, private readonly targetPort: number) {}

  /** Listens on a free port and passes everything to `targetPort` of this machine. */
  static start(targetPort: number): TcpProxy {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const proxy = new TcpProxy(listener.addr.port, targetPort);
    proxy.#listenOn(listener);
    return proxy;
  }

  /** The same address, through this proxy. */
  through(address: string): string {
    const url = new URL(address);
    url.hostname = "127.0.0.1";
    url.port = String(this.port);
    return url.href;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#links.size;
  }

  /** From now on each byte, in either direction, arrives `ms` milliseconds later. */
  latency(ms: number): void {
    this.#conditions = { ...this.#conditions, latencyMs: ms };
  }

  /** From now on each connection passes so many bytes a second in each direction. */
  slow(bytesPerSecond: number): void {
    this.#conditions = { ...this.#conditions, bytesPerSecond };
  }

  /** Connections stay open and new ones are taken, but nothing passes until `clear`; then what waited passes. */
  blackhole(): void {
    this.#conditions = { ...this.#conditions, isSilent: true };
  }

  /**
   * The connections of now are dead at the server's end and nobody tells their clients: what those send is lost.
   * New connections are good.
   */
  halfOpen(): void {
    for (const link of this.#links) link.loseServer();
  }

  /** Ends all connections of now, at both ends. New ones are good. */
  reset(): void {
    for (const link of this.#links) link.close();
  }

  /** Ends all connections and refuses new ones until `up`. */
  async down(): Promise<void> {
    this.#listener?.close();
    this.#listener = null;
    await this.#accepting;
    this.reset();
  }

  /** Takes connections again, on the same port. */
  up(): void {
    if (this.#listener === null) this.#listenOn(Deno.listen({ hostname: "127.0.0.1", port: this.port }));
  }

  /** Everything is good again. Connections that were cut or half open stay so. */
  clear(): void {
    this.#conditions = GOOD;
    for (const link of this.#links) link.wake();
    this.up();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const links = [...this.#links];
    await this.down();
    await Promise.all(links.map((link) => link.ended));
  }

  #listenOn(listener: Deno.TcpListener): void {
    this.#listener = listener;
    this.#accepting = this.#accept(listener);
  }

  async #accept(listener: Deno.TcpListener): Promise<void> {
    try {
      for await (const client of listener) this.#link(client);
    } catch {
      // The listener was closed.
    }
  }

  #link(client: Deno.TcpConn): void {
    const link = new Link(client, this.targetPort, () => this.#conditions);
    this.#links.add(link);
    link.ended.then(() => this.#links.delete(link));
  }
}

/** A client's connection and the one to the server that belongs to it. */
class Link {
  readonly ended: Promise<void>;
  #server: Deno.TcpConn | null = null;
  #isServerLost = false;
  #isClosed = false;
  readonly #sleepers = new Set<() => void>();

  constructor(
    private readonly client: Deno.TcpConn,
    targetPort: number,
    private readonly conditions: () => Conditions,
  ) {
    client.setNoDelay(true);
    this.ended = this.#run(targetPort);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.client.close();
    this.loseServer();
    this.wake();
  }

  /** Closes the server's end without a word to the client. */
  loseServer(): void {
    if (this.#isServerLost) return;
    this.#isServerLost = true;
    this.#server?.close();
  }

  /** Whoever sleeps looks at the conditions again. */
  wake(): void {
    for (const wake of this.#sleepers) wake();
    this.#sleepers.clear();
  }

  async #run(targetPort: number): Promise<void> {
    try {
      // A black hole does not even reach the server.
      await this.#whileSilent();
      if (!this.#isClosed && !this.#isServerLost) {
        const server = await Deno.connect({ hostname: "127.0.0.1", port: targetPort });
        server.setNoDelay(true);
        this.#server = server;
        if (this.#isServerLost) server.close();
        await Promise.all([this.#pump(this.client, server), this.#pump(server, this.client)]);
      }
    } catch {
      // The server refuses: so does the proxy.
    }
    this.close();
  }

  /** Passes bytes until one end closes; then both do. */
  async #pump(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const isAnswer = from === this.#server;
    const waiting: { readonly bytes: Uint8Array; readonly at: number }[] = [];
    let passing: Promise<void> = Promise.resolve();
    try {
      while (true) {
        const buffer = new Uint8Array(CHUNK_BYTES);
        const count = await from.read(buffer);
        if (count === null) break;
        if (this.#isServerLost) continue; // what the client says is lost
        waiting.push({ bytes: buffer.subarray(0, count), at: performance.now() });
        // Reading goes on while a chunk is late: lateness must not make it slow.
        passing = passing.then(() => this.#pass(waiting, to)).catch(() => this.close());
        if (waiting.length > 64) await passing;
      }
      await passing;
    } catch {
      // One end was closed.
    }
    if (isAnswer && this.#isServerLost && !this.#isClosed) return; // half open: the client is not told
    this.close();
  }

  async #pass(
    waiting: { readonly bytes: Uint8Array; readonly at: number }[],
    to: Deno.TcpConn,
  ): Promise<void> {
    const chunk = waiting.shift();
    if (chunk === undefined) return;
    await this.#sleepUntil(chunk.at + this.conditions().latencyMs);
    for (let rest = chunk.bytes; rest.length > 0 && !this.#isClosed;) {
      await this.#whileSilent();
      const { bytesPerSecond } = this.conditions();
      const share = Math.max(1, Math.min(rest.length, bytesPerSecond * SLICE_MS / 1000));
      if (bytesPerSecond !== Infinity) {
        await this.#sleepUntil(performance.now() + share * 1000 / bytesPerSecond);
      }
      if (this.#isServerLost) return;
      const written = await to.write(rest.subarray(0, Math.ceil(share)));
      rest = rest.subarray(written);
    }
  }

  async #whileSilent(): Promise<void> {
    while (this.conditions().isSilent && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#sleepers.add(resolve));
    }
  }

  async #sleepUntil(at: number): Promise<void> {
    const ms = at - performance.now();
    if (ms <= 0 || this.#isClosed) return;
    const over = new AbortController();
    const wake = () => over.abort();
    this.#sleepers.add(wake);
    await delay(ms, { signal: over.signal }).catch(() => {}); // woken early
    this.#sleepers.delete(wake);
  }
}
