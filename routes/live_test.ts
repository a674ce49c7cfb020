import { assert, assertEquals, assertMatch } from "@std/assert";
import type { LiveEvent } from "../actors/ports/events.ts";
import { type TestApi, withApi } from "../tests/support/api.ts";
import { HEARTBEAT_MS, MAX_SUBSCRIPTIONS } from "./live_hub.ts";

interface Served {
  readonly api: TestApi;
  readonly url: string;
  /** A connected WebSocket whose messages are read one by one. */
  open(query?: string): Promise<Socket>;
}

/** Serves an API on a real port: what upgrades needs a server. */
async function withServer(work: (served: Served) => Promise<void>): Promise<void> {
  await withApi(async (api) => {
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, api.api.app.fetch);
    const url = `127.0.0.1:${server.addr.port}/api/v1/live`;
    const sockets: Socket[] = [];
    try {
      const open = async (query = "") => {
        const socket = await Socket.open(`ws://${url}${query}`);
        sockets.push(socket);
        return socket;
      };
      await work({ api, url: `http://${url}`, open });
    } finally {
      for (const socket of sockets) await socket.close();
      await server.shutdown();
    }
  });
}

class Socket {
  readonly #received: string[] = [];
  #wake = () => {};
  readonly closed: Promise<CloseEvent>;

  private constructor(readonly socket: WebSocket) {
    socket.onmessage = ({ data }) => {
      this.#received.push(data);
      this.#wake();
    };
    this.closed = new Promise((resolve) => socket.onclose = resolve);
  }

  static async open(url: string): Promise<Socket> {
    const made = new Socket(new WebSocket(url, ["milvaion.v1"]));
    assertEquals(await made.next(), { type: "subscribed", id: "query" });
    assertEquals(made.socket.protocol, "milvaion.v1");
    return made;
  }

  // deno-lint-ignore no-explicit-any -- messages are read by tests that know them
  async next(): Promise<any> {
    if (this.#received.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
    return JSON.parse(this.#received.shift() ?? "null");
  }

  // deno-lint-ignore no-explicit-any -- as above
  ask(message: unknown): Promise<any> {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
    return this.next();
  }

  async close(): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    this.socket.close();
    await this.closed;
  }
}

function changed(jobId: string, occurrenceId = "o-1"): LiveEvent {
  const status = "Running" as const;
  return {
    type: "occurrenceChanged",
    occurrenceId,
    jobId,
    jobType: "X",
    status,
    attempt: 1,
    scheduledFor: 0,
    at: 5,
    reason: null,
  };
}

Deno.test("a WebSocket hears what happens, times as ISO 8601", () =>
  withServer(async ({ api, open }) => {
    const socket = await open();
    api.adapters.events.publish([changed("j-1")]);
    const { type, events: [event] } = await socket.next();
    assertEquals([type, event.type, event.at], ["events", "occurrenceChanged", "1970-01-01T00:00:00.005Z"]);
  }));

Deno.test("a WebSocket hears only of what it asked for, and lines only for one occurrence", () =>
  withServer(async ({ api, open }) => {
    const jobId = await api.createJob();
    const occurrenceId = await api.trigger(jobId);
    const ofJob = await open(`?jobId=${jobId}`);
    const ofOccurrence = await open(`?occurrenceId=${occurrenceId}`);
    const line: LiveEvent = {
      type: "occurrenceLogged",
      occurrenceId,
      lines: [{ at: 1, level: "info", message: "hi" }],
    };
    api.adapters.events.publish([changed("another"), line, changed(jobId, occurrenceId)]);
    const types = async (socket: Socket) => (await socket.next()).events.map(({ type }: LiveEvent) => type);
    assertEquals(await types(ofJob), ["occurrenceChanged"]);
    assertEquals(await types(ofOccurrence), ["occurrenceLogged", "occurrenceChanged"]);
  }));

Deno.test("nobody is asked to build events that no connection wants", () =>
  withServer(async ({ api, open }) => {
    const { events } = api.adapters;
    assertEquals(events.wants("occurrenceLogged"), false);
    const socket = await open("?types=occurrenceLogged");
    assertEquals([events.wants("occurrenceLogged"), events.wants("occurrenceChanged")], [true, false]);
    assertEquals(await socket.ask({ type: "unsubscribe", id: "query" }), {
      type: "unsubscribed",
      id: "query",
    });
    assertEquals(events.wants("occurrenceLogged"), false);
  }));

Deno.test("a subscription to what does not exist, or cannot be read, is refused by its id and ends nothing", () =>
  withServer(async ({ api, open }) => {
    const socket = await open();
    const nobody = "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b";
    const refused = await socket.ask({ type: "subscribe", id: "a", occurrenceId: nobody });
    assertEquals([refused.type, refused.id, refused.code], ["refused", "a", "not_found"]);
    const wrong = await socket.ask({ type: "subscribe", id: "b", jobID: nobody });
    assertEquals([wrong.code, wrong.errors[0].field], ["unknown_field", "jobID"]);
    assertEquals((await socket.ask("{")).code, "json_invalid");
    api.adapters.events.publish([changed("j-1")]);
    assertEquals((await socket.next()).type, "events");
  }));

Deno.test("a connection has a hundred subscriptions and no more", () =>
  withServer(async ({ open }) => {
    const socket = await open();
    for (let count = 1; count < MAX_SUBSCRIPTIONS; count++) {
      assertEquals((await socket.ask({ type: "subscribe", id: `s${count}` })).type, "subscribed");
    }
    assertEquals((await socket.ask({ type: "subscribe", id: "more" })).code, "too_many_subscriptions");
  }));

Deno.test("a message that is too long ends the connection with 1009", () =>
  withServer(async ({ open }) => {
    const socket = await open();
    socket.socket.send("x".repeat(10_000_000));
    assertEquals((await socket.closed).code, 1009);
  }));

Deno.test("a web page from elsewhere cannot listen", () =>
  withServer(async ({ url }) => {
    const response = await fetch(url, { headers: { origin: "http://evil.example" } });
    assertEquals(response.status, 403);
    await response.body?.cancel();
  }));

Deno.test("server-sent events carry the same, with heartbeats while nothing happens", () =>
  withServer(async ({ api, url }) => {
    const response = await fetch(url);
    assertEquals(response.headers.get("content-type"), "text/event-stream");
    assert(response.body !== null);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const next = async () => (await reader.read()).value ?? "";
    assertMatch(await next(), /^retry: \d+\n\n$/);
    api.adapters.events.publish([changed("j-1")]);
    assertMatch(await next(), /^event: occurrenceChanged\ndata: \{"type":"occurrenceChanged".*\}\n\n$/);
    await api.clock.advance(HEARTBEAT_MS);
    assertMatch(await next(), /^: 2026-11-24T10:00:15.000Z\n\n$/);
    await reader.cancel();
  }));

Deno.test("when the instance stops its live connections end, and it is not ready any more", () =>
  withServer(async ({ api, url, open }) => {
    const socket = await open();
    const stream = await fetch(url);
    api.api.close();
    assertEquals((await socket.closed).code, 1001);
    assertMatch(await stream.text(), /event: closed\ndata: .*stopping/);
    assertEquals((await api.get("/readyz")).status, 503);
    assertEquals((await api.get("/livez")).status, 200);
  }));

Deno.test("a stream that nobody reads is ended rather than kept in memory", () =>
  withApi(async (api) => {
    const response = await api.api.app.request("/api/v1/live?types=occurrenceLogged");
    const lines = [{ at: 1, level: "info", message: "x".repeat(100_000) }];
    for (let count = 0; count < 60; count++) {
      api.adapters.events.publish([{ type: "occurrenceLogged", occurrenceId: "o-1", lines }]);
    }
    assertEquals(api.adapters.events.wants("occurrenceLogged"), false);
    assertMatch((await response.text()).slice(-300), /event: closed\ndata: .*"why":"too-slow"/);
  }));
