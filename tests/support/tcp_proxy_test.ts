import { assert, assertEquals, assertRejects } from "@std/assert";
import { TcpProxy } from "./tcp_proxy.ts";

/** A server that says back what it hears. */
class EchoServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections = new Set<Promise<void>>();
  readonly #accepting = this.#accept();
  readonly port = this.#listener.addr.port;

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      this.#connections.add(connection.readable.pipeTo(connection.writable).catch(() => {}));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    await Promise.all(this.#connections);
  }
}

async function withProxy(work: (proxy: TcpProxy) => Promise<void>): Promise<void> {
  await using server = new EchoServer();
  await using proxy = TcpProxy.start(server.port);
  await work(proxy);
}

function connect(proxy: TcpProxy): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
}

/** Sends a text and gives what comes back for it, and after how many milliseconds. */
async function echo(connection: Deno.TcpConn, text: string): Promise<{ text: string; ms: number }> {
  const from = performance.now();
  const bytes = new TextEncoder().encode(text);
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
  const buffer = new Uint8Array(bytes.length);
  let heard = 0;
  while (heard < bytes.length) {
    const count = await connection.read(buffer.subarray(heard));
    if (count === null) throw new Error("ended");
    heard += count;
  }
  return { text: new TextDecoder().decode(buffer), ms: performance.now() - from };
}

/** What comes within this time, or "nothing". */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | "nothing"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const nothing = new Promise<"nothing">((resolve) => timer = setTimeout(() => resolve("nothing"), ms));
  return await Promise.race([promise, nothing]).finally(() => clearTimeout(timer));
}

Deno.test("the proxy passes bytes both ways and counts connections", () =>
  withProxy(async (proxy) => {
    using connection = await connect(proxy);
    assertEquals((await echo(connection, "hello")).text, "hello");
    assertEquals((await echo(connection, "x".repeat(300_000))).text.length, 300_000);
    assertEquals(proxy.connections, 1);
  }));

Deno.test("latency makes each byte late, both ways, until it is cleared", () =>
  withProxy(async (proxy) => {
    using connection = await connect(proxy);
    proxy.latency(100);
    const { ms } = await echo(connection, "late");
    assert(ms >= 195, `${ms} ms`);
    proxy.clear();
    assert((await echo(connection, "soon")).ms < ms);
  }));

Deno.test("slow passes so many bytes a second", () =>
  withProxy(async (proxy) => {
    using connection = await connect(proxy);
    proxy.slow(10_000);
    const { ms } = await echo(connection, "x".repeat(3000));
    assert(ms >= 290, `${ms} ms`);
  }));

Deno.test("a black hole takes connections and passes nothing; what waited passes afterwards", () =>
  withProxy(async (proxy) => {
    using before = await connect(proxy);
    await echo(before, "warm");
    proxy.blackhole();
    using during = await connect(proxy);
    const answers = Promise.all([echo(before, "a"), echo(during, "b")]);
    assertEquals(await within(100, answers), "nothing");
    proxy.clear();
    assertEquals((await answers).map(({ text }) => text), ["a", "b"]);
  }));

Deno.test("bytes that waited for one who has gone are lost without harm", () =>
  withProxy(async (proxy) => {
    const gone = await connect(proxy);
    await echo(gone, "warm");
    proxy.latency(50);
    await gone.write(new TextEncoder().encode("x".repeat(50_000)));
    gone.close();
    using good = await connect(proxy);
    assertEquals((await echo(good, "good")).text, "good");
  }));

Deno.test("half open: the client is not told and never hears again; new connections are good", () =>
  withProxy(async (proxy) => {
    const dead = await connect(proxy);
    await echo(dead, "warm");
    proxy.halfOpen();
    const answer = echo(dead, "lost").catch(() => "closed by the test");
    assertEquals(await within(100, answer), "nothing");
    using good = await connect(proxy);
    assertEquals((await echo(good, "good")).text, "good");
    dead.close();
    assertEquals(await answer, "closed by the test");
  }));

Deno.test("reset ends what is open; down refuses until up, on the same port", () =>
  withProxy(async (proxy) => {
    const first = await connect(proxy);
    await echo(first, "warm");
    proxy.reset();
    await assertRejects(() => echo(first, "cut"));
    first.close();
    await proxy.down();
    await assertRejects(() => connect(proxy), Deno.errors.ConnectionRefused);
    proxy.up();
    using again = await connect(proxy);
    assertEquals((await echo(again, "again")).text, "again");
  }));
