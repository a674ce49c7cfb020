/** The verbs against a small server: what they ask, what they print, how they end. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseCommandLine } from "../command_line.ts";
import { runVerb, type VerbWorld } from "./run_verb.ts";

interface Asked {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** A server that remembers what it was asked, and a way to run commands against it. */
class Desk implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(answer: (asked: Asked) => Response) {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const { pathname, search } = new URL(request.url);
      const { method, headers } = request;
      const asked = { method, path: pathname + search, headers, body: await request.text() };
      this.asked.push(asked);
      return answer(asked);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  run(args: readonly string[], world: Partial<VerbWorld> = {}): Promise<Ended> {
    return run(args, { ...world, env: { MILVAION_URL: this.url, ...world.env } });
  }

  get last(): Asked {
    const last = this.asked.at(-1);
    assert(last !== undefined, "nothing was asked");
    return last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

async function run(args: readonly string[], world: Partial<VerbWorld>): Promise<Ended> {
  const parsed = parseCommandLine(args);
  if (!parsed.ok) return { code: parsed.exitCode, out: "", error: parsed.message };
  const { command } = parsed;
  assert(command.name === "verb");
  const out: string[] = [];
  const error: string[] = [];
  const code = await runVerb(command.verb, command.given, {
    env: {},
    fetch,
    standardInput: { isTerminal: () => true, readable: new ReadableStream() },
    readTextFile: Deno.readTextFile,
    writeOut: (text) => out.push(text),
    writeError: (text) => error.push(text),
    colors: false,
    ...world,
  });
  return { code, out: out.join(""), error: error.join("") };
}

function json(value: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), { headers: { "content-type": "application/json", ...headers } });
}

function problem(status: number, document: Record<string, unknown>): Response {
  return new Response(JSON.stringify({ type: "/docs#x", status, requestId: "r1", ...document }), {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}

function standardInput(text: string): Pick<VerbWorld, "standardInput"> {
  const readable = ReadableStream.from([new TextEncoder().encode(text)]);
  return { standardInput: { isTerminal: () => false, readable } };
}

async function withFile(content: Uint8Array, use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "milvaion-cli-", suffix: ".json" });
  try {
    await Deno.writeFile(path, content);
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

const JOB = {
  id: "019aaf3e-0000-7000-8000-000000000001",
  version: 3,
  displayName: "Hello",
  description: "",
  tags: ["a"],
  jobType: "SampleJob",
  jobData: { message: "hi" },
  cronExpression: "*/5 * * * * *",
  executeAt: null,
  triggerOnly: false,
  timeZone: "UTC",
  isActive: true,
  pause: null,
  nextDueAt: "2026-11-24T10:00:05.000Z",
  createdAt: "2026-11-24T10:00:00.000Z",
};

Deno.test("jobs list prints a table, and says on stderr that there is more", async () => {
  await using desk = new Desk(() => json({ items: [JOB], nextCursor: "abc" }));
  const { code, out, error } = await desk.run(["jobs", "list", "--type", "SampleJob", "--limit", "1"]);
  assertEquals(code, 0);
  assertEquals(desk.last.path, "/api/v1/jobs?limit=1&jobType=SampleJob");
  const [head = "", row = ""] = out.split("\n");
  assertMatch(head, /^ID +NAME +TYPE +SCHEDULE +NEXT +STATE$/);
  assertMatch(row, / Hello +SampleJob +\*\/5 \* \* \* \* \* \(UTC\) +2026-11-24T10:00:05\.000Z +active$/);
  assertEquals(error, "There is more: --cursor abc\n");
});

Deno.test("-o json prints the answer as it came and nothing else", async () => {
  await using desk = new Desk(() => json({ items: [JOB], nextCursor: "abc" }));
  const { code, out, error } = await desk.run(["jobs", "list", "-o", "json"]);
  assertEquals([code, JSON.parse(out), error], [0, { items: [JOB], nextCursor: "abc" }, ""]);
});

Deno.test("an empty list is no table, and no error", async () => {
  await using desk = new Desk(() => json({ items: [], nextCursor: null }));
  const ended = await desk.run(["occurrences", "list", "--status", "Failed,TimedOut"]);
  assertEquals(ended, { code: 0, out: "", error: "Nothing found.\n" });
  assertEquals(desk.last.path, "/api/v1/occurrences?status=Failed%2CTimedOut");
});

Deno.test("names from outside cannot steer the terminal", async () => {
  await using desk = new Desk(() =>
    json({ items: [{ ...JOB, displayName: "\x1b[2J\nx" }], nextCursor: null })
  );
  const { out } = await desk.run(["jobs", "list"]);
  assertStringIncludes(out, "\\u001b[2J\\nx");
  assertEquals(out.split("\n").length, 3);
});

Deno.test("the token goes into the header, from the environment, a file or the flag", async () => {
  await using desk = new Desk(() => json({ items: [], nextCursor: null }));
  const sent = () => desk.last.headers.get("authorization");
  await desk.run(["workers", "list"]);
  assertEquals(sent(), null);
  await desk.run(["workers", "list"], { env: { MILVAION_API_TOKEN: "from-env" } });
  assertEquals(sent(), "Bearer from-env");
  const files = { readTextFile: () => Promise.resolve("from-file\n") };
  await desk.run(["workers", "list"], { ...files, env: { MILVAION_API_TOKEN_FILE: "/run/secrets/token" } });
  assertEquals(sent(), "Bearer from-file");
  await desk.run(["workers", "list", "--token", "from-flag"], { env: { MILVAION_API_TOKEN: "from-env" } });
  assertEquals(sent(), "Bearer from-flag");
});

Deno.test("jobs create sends what the flags say", async () => {
  await using desk = new Desk(() =>
    json({ ...JOB, warnings: [{ code: "no_worker_for_type", message: "No worker." }] })
  );
  const { code, out, error } = await desk.run([
    ...["jobs", "create", "--name", "Hello", "--type", "SampleJob", "--cron", "*/5 * * * * *"],
    ...[
      "--data",
      '{"message":"hi"}',
      "--tag",
      "a",
      "--tag",
      "b",
      "--max-retries",
      "2",
      "--allow-unknown-type",
    ],
  ]);
  assertEquals(code, 0);
  assertEquals([desk.last.method, desk.last.path], ["POST", "/api/v1/jobs?allowUnknownType=true"]);
  assertEquals(JSON.parse(desk.last.body), {
    displayName: "Hello",
    jobType: "SampleJob",
    cronExpression: "*/5 * * * * *",
    tags: ["a", "b"],
    maxRetries: 2,
    jobData: { message: "hi" },
  });
  assertMatch(out, /^id +019aaf3e/);
  assertEquals(error, "warning: No worker.\n");
});

Deno.test("jobs create sends a file letter for letter, and flags over it when there are any", async () => {
  await using desk = new Desk(() => json(JOB));
  const text = '{ "displayName": "A",\n  "triggerOnly": true }';
  await withFile(new TextEncoder().encode(text), async (path) => {
    assertEquals((await desk.run(["jobs", "create", "--file", path])).code, 0);
    assertEquals(desk.last.body, text);
    assertEquals((await desk.run(["jobs", "create", "--file", path, "--cron", "0 0 * * *"])).code, 0);
    assertEquals(JSON.parse(desk.last.body), { displayName: "A", cronExpression: "0 0 * * *" });
  });
});

Deno.test("jobs create reads a job from a pipe", async () => {
  await using desk = new Desk(() => json(JOB));
  const { code } = await desk.run(["jobs", "create", "--file", "-"], standardInput('{"displayName":"A"}'));
  assertEquals([code, desk.last.body], [0, '{"displayName":"A"}']);
});

Deno.test("jobs update changes what the flags name, of the version that was read", async () => {
  await using desk = new Desk(() => json(JOB, { etag: '"3"' }));
  const { code } = await desk.run([
    "jobs",
    "update",
    JOB.id,
    "--at",
    "2027-01-01T00:00:00Z",
    "--name",
    "New",
  ]);
  assertEquals(code, 0);
  assertEquals(desk.asked.map(({ method }) => method), ["GET", "PUT"]);
  assertEquals(desk.last.headers.get("if-match"), '"3"');
  assertEquals(JSON.parse(desk.last.body), {
    displayName: "New",
    description: "",
    tags: ["a"],
    jobType: "SampleJob",
    jobData: { message: "hi" },
    executeAt: "2027-01-01T00:00:00Z",
    timeZone: "UTC",
    isActive: true,
  });
});

/** Verbs whose request is all there is to say. */
const REQUESTS: readonly (readonly [args: string, method: string, path: string, body: string])[] = [
  ["jobs get 1", "GET", "/api/v1/jobs/1", ""],
  ["jobs delete 1", "DELETE", "/api/v1/jobs/1", ""],
  [
    "jobs pause 1 --reason why --until 2027-01-01T00:00:00Z",
    "POST",
    "/api/v1/jobs/1/pause",
    '{"reason":"why","until":"2027-01-01T00:00:00Z"}',
  ],
  ["jobs resume 1", "POST", "/api/v1/jobs/1/resume", "{}"],
  ["jobs trigger 1 --data [1] --force", "POST", "/api/v1/jobs/1/trigger", '{"jobData":[1],"force":true}'],
  ["jobs next-runs 1 --count 3", "GET", "/api/v1/jobs/1/next-runs?count=3", ""],
  [
    "jobs next-runs --cron @daily --count 3",
    "POST",
    "/api/v1/schedules/next-runs",
    '{"cronExpression":"@daily","count":3}',
  ],
  ["jobs explain 1 2026-11-24T10:00:05Z", "GET", "/api/v1/jobs/1/explain?at=2026-11-24T10%3A00%3A05Z", ""],
  [
    "occurrences list --job 1 --from 2026-11-24T10:00:05Z",
    "GET",
    "/api/v1/occurrences?jobId=1&from=2026-11-24T10%3A00%3A05Z",
    "",
  ],
  ["occurrences get 1", "GET", "/api/v1/occurrences/1", ""],
  ["occurrences logs 1 --limit 5", "GET", "/api/v1/occurrences/1/logs?limit=5", ""],
  ["occurrences cancel 1 --reason why", "POST", "/api/v1/occurrences/1/cancel", '{"reason":"why"}'],
  ["workers list", "GET", "/api/v1/workers", ""],
  ["leadership", "GET", "/api/v1/leadership", ""],
];

for (const [args, method, path, body] of REQUESTS) {
  Deno.test(`\`${args}\` asks ${method} ${path}`, async () => {
    await using desk = new Desk(() =>
      method === "DELETE" ? new Response(null, { status: 204 }) : json({ id: "1", items: [] })
    );
    assertEquals((await desk.run(args.split(" "))).code, 0);
    const { last } = desk;
    assertEquals([last.method, last.path, last.body], [method, path, body]);
  });
}

Deno.test("an id cannot lead to another path", async () => {
  await using desk = new Desk(() => json({}));
  for (const id of ["..", ".", "../jobs", "a/b?c#d", "%2e%2e"]) {
    await desk.run(["jobs", "get", id]);
    assertMatch(desk.last.path, /^\/api\/v1\/jobs\/[^/?#]+$/);
  }
});

const PROBLEMS: readonly {
  readonly name: string;
  readonly answer: () => Response;
  readonly code: number;
  readonly says: RegExp;
}[] = [
  {
    name: "no token",
    answer: () => problem(401, { title: "A valid token is needed", detail: "Send it." }),
    code: 77,
    says:
      /^error: A valid token is needed: Send it\.\nhint: Give a token in MILVAION_API_TOKEN, or with --token\.\n$/,
  },
  {
    name: "a caller who is not let in",
    answer: () => problem(403, { title: "Requests from this web page are refused" }),
    code: 77,
    says: /^error: Requests from this web page are refused\n$/,
  },
  {
    name: "an id that nobody has",
    answer: () => problem(404, { title: "There is no such thing", detail: "There is no job with the id 1." }),
    code: 66,
    says: /There is no job with the id 1\.\n$/,
  },
  {
    name: "a conflict",
    answer: () =>
      problem(409, { title: "A run of this job is in the way", detail: "Occurrence 2 is running." }),
    code: 1,
    says: /Occurrence 2 is running\.\n$/,
  },
  {
    name: "a body that is not valid",
    answer: () =>
      problem(422, {
        title: "The body is not valid",
        detail: "2 things are wrong; each is named in errors.",
        errors: [{ field: "displayName", code: "required", message: "is required." }, {
          field: "cronExpression",
          code: "cron_invalid",
          message: "has 3 fields.",
        }],
      }),
    code: 65,
    says:
      /^error: The body is not valid: 2 .*\n {2}displayName: is required\.\n {2}cronExpression: has 3 fields\.\n$/,
  },
  {
    name: "a server that fails",
    answer: () => problem(500, { title: "Something is wrong on this side" }),
    code: 70,
    says: /wrong on this side/,
  },
  {
    name: "a server that is not ready",
    answer: () => problem(503, { title: "Not ready" }),
    code: 69,
    says: /Not ready/,
  },
  {
    name: "a gateway without a server",
    answer: () => new Response("<html>", { status: 502 }),
    code: 69,
    says: /^error: Cannot reach http:\/\/127.* it answers 502/,
  },
  {
    name: "an old server",
    answer: () => new Response("Not Found", { status: 404 }),
    code: 76,
    says:
      /^error: .* does not speak this program's API: it answers 404 without a problem document\nhint: Check --url/,
  },
  {
    name: "something that is no API",
    answer: () => new Response("<html>hello</html>"),
    code: 76,
    says: /no JSON object/,
  },
  {
    name: "a redirect",
    answer: () => new Response(null, { status: 302, headers: { location: "http://example.com/" } }),
    code: 76,
    says: /it answers 302/,
  },
];

for (const { name, answer, code, says } of PROBLEMS) {
  Deno.test(`B44 ${name} ends with ${code}`, async () => {
    await using desk = new Desk(answer);
    const ended = await desk.run(["jobs", "get", "1"]);
    assertEquals(ended.code, code, ended.error);
    assertEquals(ended.out, "");
    assertMatch(ended.error, says);
  });
}

Deno.test("B44 with -o json a failure is one line of JSON on stderr", async () => {
  await using desk = new Desk(() => problem(404, { title: "No such thing", detail: "No job 1." }));
  const { code, out, error } = await desk.run(["jobs", "get", "1", "-o", "json"]);
  assertEquals([code, out], [66, ""]);
  assertEquals(JSON.parse(error), {
    error: { exitCode: 66, message: "No such thing: No job 1.", hint: null, details: [] },
  });
});

Deno.test("B44 a server that cannot be reached ends with 69 and says how to start one", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${listener.addr.port}`;
  listener.close();
  const { code, error } = await run(["jobs", "list", "--url", url], {});
  assertEquals(code, 69);
  assertMatch(
    error,
    /^error: Cannot reach http:\/\/127\.0\.0\.1:\d+: .*refused.*\nhint: Is it running\? Start it with `milvaion run`/i,
  );
});

Deno.test("B44 a server without valid TLS ends with 69 and says so", async () => {
  await using desk = new Desk(() => json({}));
  const { code, error } = await run(["jobs", "list", "--url", desk.url.replace("http:", "https:")], {});
  assertEquals(code, 69);
  assertMatch(error, /^error: Cannot reach https:.*\nhint: Is it https at all\?/);
  const refuse: typeof fetch = () =>
    Promise.reject(
      new TypeError(
        "fetch failed",
        {
          cause: new Error(
            "error sending request for url (https://a/): client error (Connect): invalid peer certificate: UnknownIssuer",
          ),
        },
      ),
    );
  const untrusted = await run(["jobs", "list", "--url", "https://a"], { fetch: refuse });
  assertEquals(untrusted.code, 69);
  assertMatch(
    untrusted.error,
    /^error: Cannot reach https:\/\/a: invalid peer certificate: UnknownIssuer\nhint: .*certificate/,
  );
});

Deno.test("B44 a server that never answers ends with 69", async () => {
  const never: typeof fetch = () => Promise.reject(new DOMException("Signal timed out.", "TimeoutError"));
  const { code, error } = await run(["jobs", "list"], { fetch: never });
  assertEquals(code, 69);
  assertMatch(error, /no answer within 30 s/);
});

Deno.test("B44 an address that is none, or that holds a password, ends with 64 and does not repeat the password", async () => {
  for (const url of ["nonsense", "ftp://a", "http://me:hunter2@a"]) {
    const { code, error } = await run(["jobs", "list", "--url", url], {});
    assertEquals(code, 64);
    assertMatch(error, /^error: --url is no address/);
    assert(!error.includes("hunter2"));
  }
});

Deno.test("B44 a token that no header can hold ends with 64 and is not repeated", async () => {
  const { code, error } = await run(["jobs", "list", "--token", "secret\nx-evil: 1"], {});
  assertEquals(code, 64);
  assert(!error.includes("secret"));
});

Deno.test("B44 a token file that cannot be read ends with 78", async () => {
  const { code } = await run(["jobs", "list"], { env: { MILVAION_API_TOKEN_FILE: "/nowhere/token" } });
  assertEquals(code, 78);
});

Deno.test("B44 contradictions and empty wishes end with 64", async () => {
  for (const args of ["jobs create", "jobs update 1", "jobs next-runs", "jobs next-runs 1 --cron x"]) {
    const { code, error } = await run(args.split(" "), {});
    assertEquals(code, 64, args);
    assertMatch(error, /\nhint: /);
  }
});

Deno.test("B44 data that is not JSON ends with 65", async () => {
  assertEquals((await run(["jobs", "trigger", "1", "--data", "{x"], {})).code, 65);
});

Deno.test("B45 a file that is missing, or a directory, ends with 66", async () => {
  const missing = await run(["jobs", "create", "--file", "/nowhere/job.json"], {});
  assertEquals([missing.code, missing.error], [
    66,
    "error: Cannot read /nowhere/job.json: there is no such file\n",
  ]);
  const folder = await Deno.makeTempDir();
  const directory = await run(["jobs", "create", "--file", folder], {});
  await Deno.remove(folder);
  assertEquals([directory.code, directory.error], [66, `error: Cannot read ${folder}: it is a directory\n`]);
});

Deno.test("B45 a file of a gigabyte ends with 65 without being read to its end", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, 1024 ** 3);
    const { code, error } = await run(["jobs", "create", "--file", path], {});
    assertEquals(code, 65);
    assertStringIncludes(error, "is larger than 1 MiB");
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("B45 a file that is not UTF-8, no JSON, or no object ends with 65", async () => {
  const encoder = new TextEncoder();
  for (
    const [bytes, says] of [
      [new Uint8Array([0x7b, 0xff, 0x7d]), "is not UTF-8"],
      [encoder.encode("{,}"), "is not JSON"],
      [encoder.encode("[]"), "holds no JSON object"],
    ] as const
  ) {
    await withFile(bytes, async (path) => {
      const { code, error } = await run(["jobs", "create", "--file", path], {});
      assertEquals(code, 65);
      assertStringIncludes(error, says);
    });
  }
});

Deno.test("B45 - with a terminal ends with 64", async () => {
  const { code, error } = await run(["jobs", "create", "--file", "-"], {});
  assertEquals(code, 64);
  assertStringIncludes(error, "standard input, which is a terminal");
});

Deno.test("a reader that has seen enough ends the command in peace", async () => {
  await using desk = new Desk(() => json({ items: [JOB], nextCursor: null }));
  const { code } = await desk.run(["jobs", "list"], {
    writeOut: () => {
      throw new Deno.errors.BrokenPipe("Broken pipe");
    },
  });
  assertEquals(code, 0);
});
