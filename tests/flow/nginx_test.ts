/** The load balancer's configuration, with nginx itself, in front of instances that can be killed. */
import { assert, assertEquals } from "@std/assert";
import { Nginx } from "../support/nginx.ts";
import { Program, until } from "../support/program.ts";
import { serverTest } from "../support/servers.ts";

const SCRIPT = new URL("../support/small_api.ts", import.meta.url).pathname;

/** One process of `small_api.ts`. */
class Instance implements AsyncDisposable {
  #output = "";
  readonly #drained: Promise<void>;

  private constructor(readonly name: string, private readonly child: Deno.ChildProcess) {
    this.#drained = this.#read();
  }

  static async start(name: string, mode = ""): Promise<Instance> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-lock", "--allow-net=127.0.0.1", SCRIPT, name, mode],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const instance = new Instance(name, child);
    await until(() => Promise.resolve(/^port \d+\n/.test(instance.#output)), `${name} listens`);
    return instance;
  }

  get port(): number {
    return Number(/^port (\d+)/.exec(this.#output)?.[1]);
  }

  /** What it was asked, e.g. `GET /hang`. */
  get requests(): readonly string[] {
    return this.#output.split("\n").slice(1, -1);
  }

  async #read(): Promise<void> {
    for await (const text of this.child.stdout.pipeThrough(new TextDecoderStream())) this.#output += text;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // killed by the test
    }
    await this.child.status;
    await this.#drained;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

interface SmallAnswer {
  readonly name: string;
  readonly byteLength: number;
  readonly headers: Readonly<Record<string, string>>;
}

async function ask(url: string, init?: RequestInit): Promise<SmallAnswer> {
  const response = await fetch(url, init);
  assertEquals(response.status, 200, await response.clone().text());
  return await response.json();
}

/** Opens a WebSocket and waits for its first message. */
async function openSocket(url: string): Promise<{ socket: WebSocket; first: string }> {
  const socket = new WebSocket(url.replace("http:", "ws:"), ["milvaion.v1"]);
  const first = await new Promise<string>((resolve, reject) => {
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = () => reject(new Error(`Cannot open ${url}`));
  });
  return { socket, first };
}

/** A promise of the socket's next message, or of its end. */
function next(socket: WebSocket): Promise<string> {
  return new Promise((resolve) => {
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = () => {};
    socket.onclose = () => resolve("closed");
  });
}

async function close(socket: WebSocket): Promise<void> {
  const closed = new Promise<void>((resolve) => socket.onclose = () => resolve());
  socket.close();
  await closed;
}

serverTest(["nginx"], "nginx spreads requests over all instances", async () => {
  await using a = await Instance.start("a");
  await using b = await Instance.start("b");
  await using c = await Instance.start("c");
  await using nginx = await Nginx.start([a.port, b.port, c.port]);
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask(nginx.url + "/")));
  const counts = ["a", "b", "c"].map((name) => answers.filter((one) => one.name === name).length);
  assert(counts.every((count) => count >= 10), `answered by a, b, c: ${counts}`);
});

serverTest(["nginx"], "nginx passes a WebSocket both ways, with its subprotocol", async () => {
  await using a = await Instance.start("a");
  await using nginx = await Nginx.start([a.port]);
  const { socket, first } = await openSocket(`${nginx.url}/api/v1/live`);
  assertEquals([first, socket.protocol], ["a", "milvaion.v1"]);
  const echoed = next(socket);
  socket.send("over and back");
  assertEquals(await echoed, "over and back");
  await close(socket);
});

serverTest(["nginx"], "nginx passes each server-sent event when it is sent", async () => {
  await using a = await Instance.start("a");
  await using nginx = await Nginx.start([a.port]);
  const response = await fetch(`${nginx.url}/api/v1/live`);
  assert(response.body !== null);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals((await reader.read()).value, "data: a\n\n");
  await ask(`http://127.0.0.1:${a.port}/next`);
  assertEquals((await reader.read()).value, "data: next\n\n");
  await reader.cancel();
});

serverTest(["nginx"], "an instance that is killed costs no request that may be asked twice", async () => {
  await using dying = await Instance.start("dying", "hang");
  await using other = await Instance.start("other");
  await using nginx = await Nginx.start([dying.port, other.port]);

  // Answers that are under way when it dies come from the other one …
  const gets = Array.from({ length: 4 }, () => ask(`${nginx.url}/hang`));
  const posts = Array.from({ length: 4 }, () => fetch(`${nginx.url}/hang`, { method: "POST" }));
  await until(
    () => Promise.resolve(["GET /hang", "POST /hang"].every((one) => dying.requests.includes(one))),
    "requests of both kinds hang in the instance",
  );
  await dying.kill();
  for (const answer of await Promise.all(gets)) assertEquals(answer.name, "other");

  // … but no POST that had been sent is sent again: its client is told.
  const answers = await Promise.all(posts);
  for (const answer of answers) await answer.body?.cancel();
  const answered = answers.filter(({ status }) => status === 200).length;
  assertEquals(answers.filter(({ status }) => status === 502).length, posts.length - answered);
  assert(answered <= posts.length - dying.requests.filter((one) => one === "POST /hang").length);
  assertEquals(other.requests.filter((one) => one === "POST /hang").length, answered);

  // What comes later finds the other one, whatever it is: nothing had been sent to the dead one.
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
    for (let times = 0; times < 5; times++) {
      assertEquals((await ask(nginx.url + "/", { method })).name, "other");
    }
  }
});

serverTest(
  ["nginx"],
  "a live connection to an instance that is killed ends, and the next one opens elsewhere",
  async () => {
    await using a = await Instance.start("a");
    await using b = await Instance.start("b");
    await using nginx = await Nginx.start([a.port, b.port]);
    const url = `${nginx.url}/api/v1/live`;
    const { socket, first } = await openSocket(url);
    const [dying, other] = first === "a" ? [a, b] : [b, a];
    const ended = next(socket);
    await dying.kill();
    assertEquals(await ended, "closed");
    const again = await openSocket(url);
    assertEquals(again.first, other.name);
    await close(again.socket);
  },
);

serverTest(
  ["nginx"],
  "an instance learns who asks from nginx, and the name asked for with its port",
  async () => {
    await using a = await Instance.start("a");
    await using nginx = await Nginx.start([a.port]);
    const { headers } = await ask(nginx.url + "/", { headers: { "x-forwarded-for": "203.0.113.9" } });
    assertEquals(headers["x-forwarded-for"], "127.0.0.1");
    assertEquals(headers["x-forwarded-proto"], "http");
    assertEquals(headers["host"], new URL(nginx.url).host);
  },
);

serverTest(
  ["nginx"],
  "a body beyond what the API takes reaches it, so that it can refuse; one far beyond does not",
  async () => {
    await using a = await Instance.start("a");
    await using nginx = await Nginx.start([a.port]);
    const body = new Uint8Array(1.5 * 1024 * 1024);
    assertEquals((await ask(nginx.url + "/", { method: "POST", body })).byteLength, body.length);
    const refused = await fetch(nginx.url + "/", { method: "POST", body: new Uint8Array(3 * 1024 * 1024) });
    await refused.body?.cancel();
    assertEquals(refused.status, 413);
  },
);

serverTest(
  ["nginx"],
  "the real API answers behind nginx: pages of its own origin, and live events",
  async () => {
    await using program = await Program.start();
    await using nginx = await Nginx.start([Number(new URL(program.url).port)]);
    await until(async () => {
      const response = await fetch(`${nginx.url}/api/v1/workers`);
      return (await response.json()).items.length > 0;
    }, "the worker is known");
    const created = await fetch(`${nginx.url}/api/v1/jobs`, {
      method: "POST",
      headers: { "content-type": "application/json", origin: nginx.url },
      body: JSON.stringify({ displayName: "Seen", jobType: "SampleJob", triggerOnly: true, jobData: {} }),
    });
    const job = await created.json();
    assertEquals(created.status, 201, JSON.stringify(job));

    const { socket, first } = await openSocket(`${nginx.url}/api/v1/live?jobId=${job.id}`);
    assertEquals(JSON.parse(first), { type: "subscribed", id: "query" });
    let seen = "";
    const completed = new Promise<void>((resolve) => {
      socket.onmessage = ({ data }) => {
        seen += data;
        if (seen.includes("Completed")) resolve();
      };
    });
    const triggered = await fetch(`${nginx.url}/api/v1/jobs/${job.id}/trigger`, { method: "POST" });
    await triggered.body?.cancel();
    assertEquals(triggered.status, 202);
    await completed;
    await close(socket);
    assertEquals((await program.stop()).code, 0, program.output);
  },
);
