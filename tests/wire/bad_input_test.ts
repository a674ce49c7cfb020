/**
 * Bad input over HTTP, row by row (ids of the reliability report). Each case is refused with its status, its code and
 * the field at fault, in a problem document that gives nothing away, and leaves the store as it was.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { z } from "zod";
import { type Answered, SAMPLE, type TestApi, withApi } from "../support/api.ts";
import { offer } from "../support/in_process_pool.ts";

interface Case {
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly body?: BodyInit | null;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly code: string;
  /** The fields at fault, in any order; absent when no field is. */
  readonly fields?: readonly string[];
}

/** What is there before each row: the ids that its cases speak of. */
interface Ids {
  readonly idle: string;
  readonly running: string;
  readonly inactive: string;
  readonly completed: string;
}

const JOBS = "/api/v1/jobs";
const JSON_TYPE = { "content-type": "application/json" };
const NOBODY = "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b";
const CRON = { displayName: "Bad", jobType: "SampleJob", cronExpression: "0 0 12 * * *" };
const MAIL_SCHEMA = z.toJSONSchema(z.strictObject({
  to: z.email(),
  copies: z.int().min(1).max(3),
  list: z.array(z.strictObject({ name: z.string() })).optional(),
}));

/** A job that is refused: text is sent as it is. */
function job(
  what: string,
  body: unknown,
  [status, code, ...fields]: [status: number, code: string, ...fields: string[]],
): Case {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { what, method: "POST", path: JOBS, body: text, headers: JSON_TYPE, status, code, fields };
}

/** A request without a body that is refused. */
function call(
  what: string,
  request: string,
  [status, code, ...fields]: [status: number, code: string, ...fields: string[]],
): Case {
  const [method = "", path = ""] = request.split(" ");
  return { what, method, path, status, code, fields };
}

function cron(expression: string, code: string): Case {
  return job(`cron ${JSON.stringify(expression.slice(0, 30))}`, { ...CRON, cronExpression: expression }, [
    422,
    code,
    "cronExpression",
  ]);
}

function chunked(): ReadableStream<Uint8Array> {
  const chunk = new TextEncoder().encode(" ".repeat(64 * 1024));
  return new ReadableStream({ pull: (controller) => controller.enqueue(chunk) });
}

const ROWS: Readonly<Record<string, (ids: Ids) => readonly Case[]>> = {
  "B3 a body that is not one JSON document": () => [
    job("not JSON", "hello", [400, "json_invalid"]),
    job("spaces only", "  ", [400, "json_invalid"]),
    { ...job("nothing", "{}", [400, "json_invalid"]), body: null },
    job("a byte order mark", "\uFEFF{}", [400, "json_invalid"]),
    job("a trailing comma", '{"displayName":"x",}', [400, "json_invalid"]),
    job("two documents", "{}{}", [400, "json_invalid"]),
    job("duplicate keys", '{"displayName":"a","displayName":"b"}', [400, "json_duplicate_key"]),
    { ...job("not UTF-8", "{}", [400, "json_invalid"]), body: new Uint8Array([0x22, 0xFF, 0x22]) },
  ],
  "B4 a body of another type, charset or encoding": () => [
    ...[undefined, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"].map(
      (type) => ({
        ...job(`content type ${type}`, SAMPLE, [415, "content_type_unsupported"]),
        headers: type === undefined ? {} : { "content-type": type },
      }),
    ),
    {
      ...job("gzip, bomb or not", SAMPLE, [415, "encoding_unsupported"]),
      headers: { ...JSON_TYPE, "content-encoding": "gzip" },
    },
  ],
  "B5 a body that is too large": () => [
    job("10 MB", JSON.stringify({ ...SAMPLE, description: "x".repeat(10_000_000) }), [413, "body_too_large"]),
    { ...job("endless", SAMPLE, [413, "body_too_large"]), body: chunked() },
    {
      ...job("a Content-Length that lies", " ".repeat(2_000_000), [413, "body_too_large"]),
      headers: { ...JSON_TYPE, "content-length": "2" },
    },
  ],
  "B6 a body made to exhaust its reader": () => [
    job("nested 10,000 deep", "[".repeat(10_000) + "]".repeat(10_000), [
      422,
      "too_deep",
      Array(64).fill("0").join("."),
    ]),
    job("100,000 items", `{"tags":[${"1,".repeat(100_000)}1]}`, [422, "too_many_items", "tags"]),
    job(
      "80,000 keys",
      `{${Array.from({ length: 80_000 }, (_, i) => `"k${i}":1`).join()}}`,
      [422, "too_many_items", "k10000"],
    ),
  ],
  "B7 keys that every object inherits": () => [
    job("__proto__", '{"__proto__":{"isAdmin":true}}', [422, "key_forbidden", "__proto__"]),
    job("constructor", '{"jobData":{"constructor":{"prototype":{}}}}', [
      422,
      "key_forbidden",
      "jobData.constructor",
    ]),
    job("toString", '{"jobData":{"toString":1}}', [422, "key_forbidden", "jobData.toString"]),
  ],
  "B9 numbers that are none, or would become others": () => [
    job("1e309", '{"maxRetries":1e309}', [422, "out_of_range", "maxRetries"]),
    job("2^53 + 1", '{"maxRetries":9007199254740993}', [422, "out_of_range", "maxRetries"]),
    job("NaN", '{"maxRetries":NaN}', [400, "json_invalid"]),
    job("a text for a number", { ...SAMPLE, maxRetries: "5" }, [422, "type", "maxRetries"]),
    job("a fraction for an integer", { ...SAMPLE, maxRetries: 5.5 }, [422, "type", "maxRetries"]),
    job("negative", { ...SAMPLE, maxRetries: -1 }, [422, "out_of_range", "maxRetries"]),
    job("zero seconds", { ...SAMPLE, executionTimeoutSeconds: 0 }, [
      422,
      "out_of_range",
      "executionTimeoutSeconds",
    ]),
    job("a policy that does not exist", { ...SAMPLE, concurrentExecutionPolicy: 3 }, [
      422,
      "choice_unknown",
      "concurrentExecutionPolicy",
    ]),
  ],
  "B10 ids that are none": () => [
    ...[
      "1",
      "{" + NOBODY + "}",
      NOBODY.replaceAll("-", ""),
      "00000000-0000-0000-0000-000000000000",
      "a".repeat(5000),
      "%00",
      "..%2F",
    ]
      .map((id) => call(`id ${id.slice(0, 40)}`, `GET ${JOBS}/${id}`, [400, "id_invalid", "id"])),
    call("an id of nothing, in capitals", `GET ${JOBS}/${NOBODY.toUpperCase()}`, [404, "not_found"]),
    call("out of the folder", `GET ${JOBS}/../../etc/passwd`, [404, "not_found"]),
    call("in a filter", "GET /api/v1/occurrences?jobId=1", [400, "id_invalid", "jobId"]),
  ],
  "B11 pages and filters that are none": () => [
    ...["0", "-1", "201", "1000000000"].map((limit) =>
      call(`limit ${limit}`, `GET ${JOBS}?limit=${limit}`, [400, "out_of_range", "limit"])
    ),
    call("limit abc", `GET ${JOBS}?limit=abc`, [400, "type", "limit"]),
    call("a cursor made up", `GET ${JOBS}?cursor=bm90IG9uZQ`, [400, "cursor_invalid", "cursor"]),
    call("a parameter that does not exist", `GET ${JOBS}?sort=name`, [400, "field_unknown", "sort"]),
    call("a parameter given twice", `GET ${JOBS}?limit=1&limit=2`, [400, "duplicate", "limit"]),
    call("500 terms", `GET /api/v1/occurrences?status=${Array(500).fill("Failed").join()}`, [
      400,
      "filter_too_complex",
      "status",
    ]),
    call("a status that does not exist", "GET /api/v1/occurrences?status=Done", [
      400,
      "choice_unknown",
      "status",
    ]),
    call("a time without offset", "GET /api/v1/occurrences?from=2026-01-01T00:00:00", [
      400,
      "offset_required",
      "from",
    ]),
  ],
  "B14 a job without what it needs, and with too much": () => [
    job("nothing of it", {}, [422, "required", "displayName", "jobType"]),
    job("a name of 256", { ...SAMPLE, displayName: "x".repeat(256) }, [422, "too_long", "displayName"]),
    job("an empty name", { ...SAMPLE, displayName: "" }, [422, "too_short", "displayName"]),
    job("spaces around a name", { ...SAMPLE, displayName: " x " }, [422, "untrimmed", "displayName"]),
    job("a line break in a name", { ...SAMPLE, displayName: "a\nb" }, [
      422,
      "character_forbidden",
      "displayName",
    ]),
    job("1,000 tags", { ...SAMPLE, tags: Array.from({ length: 1000 }, (_, i) => `t${i}`) }, [
      422,
      "too_many_items",
      "tags",
    ]),
    job("a tag twice", { ...SAMPLE, tags: ["a", "a"] }, [422, "duplicate", "tags"]),
    job("a slip of the pen", { ...SAMPLE, displyName: "x" }, [422, "unknown_field", "displyName"]),
    job("a pool that would break a queue's name", { ...SAMPLE, workerId: "a.*.#" }, [
      422,
      "format",
      "workerId",
    ]),
    job("several at once", { displayName: " ", jobType: 1, maxRetries: "x", nope: 1 }, [
      422,
      "validation_failed",
      "displayName",
      "jobType",
      "maxRetries",
      "nope",
    ]),
    job("a list for a job", [], [422, "type", "body"]),
    job("a type that no worker offers", { ...SAMPLE, jobType: "SmapleJob" }, [
      422,
      "job_type_unknown",
      "jobType",
    ]),
  ],
  "B16 a payload that breaks its schema": ({ idle }) => [
    job("missing, extra and wrong", {
      ...SAMPLE,
      jobType: "MailJob",
      jobData: { to: "x", list: [{}], cc: 1 },
    }, [
      422,
      "validation_failed",
      "jobData.to",
      "jobData.copies",
      "jobData.list.0.name",
      "jobData.cc",
    ]),
    job("none at all", { ...SAMPLE, jobType: "MailJob" }, [422, "required", "jobData.to", "jobData.copies"]),
    job("JSON in a text", { ...SAMPLE, jobData: "{}" }, [422, "type", "jobData"]),
    job("300 KB", { ...SAMPLE, jobData: { text: "x".repeat(300_000) } }, [422, "too_long", "jobData"]),
    {
      ...job("in a trigger", { jobData: 5 }, [422, "type", "jobData"]),
      path: `${JOBS}/${idle}/trigger`,
    },
  ],
  "B17 two schedules, or none": () => [
    job("two", { ...CRON, executeAt: "2027-01-01T00:00:00Z" }, [422, "schedule_exclusive", "executeAt"]),
    job("none", { displayName: "x", jobType: "SampleJob" }, [422, "schedule_required", "cronExpression"]),
  ],
  "B18 moments that are none": () =>
    ([
      ["2020-01-01T00:00:00Z", "in_past"],
      ["10000-01-01T00:00:00Z", "out_of_range"],
      ["2027-01-01T00:00:00", "offset_required"],
      ["2027-02-30T00:00:00Z", "date_invalid"],
      ["2026-12-31T23:59:60Z", "date_invalid"],
      ["tomorrow", "date_invalid"],
      ["", "date_invalid"],
    ] as const).map(([executeAt, code]) =>
      job(`executeAt ${executeAt}`, { displayName: "x", jobType: "SampleJob", executeAt }, [
        422,
        code,
        "executeAt",
      ])
    ),
  "B20 a change of a version that is not the present one": ({ idle }) => {
    const put = { ...job("", SAMPLE, [0, ""]), method: "PUT", path: `${JOBS}/${idle}` };
    const match = (value: string) => ({ ...JSON_TYPE, "if-match": value });
    return [
      { ...put, what: "no If-Match", status: 428, code: "if_match_required" },
      { ...put, what: "a stale version", status: 409, code: "version_conflict", headers: match('"7"') },
      { ...put, what: "no version", status: 400, code: "if_match_invalid", headers: match("yesterday") },
    ];
  },
  "B21 what the present state does not allow": ({ running, inactive, completed }) => [
    call("deleting a job with a run", `DELETE ${JOBS}/${running}`, [409, "job_in_use"]),
    call("triggering one that is not active", `POST ${JOBS}/${inactive}/trigger`, [409, "state_conflict"]),
    call("triggering one that does not exist", `POST ${JOBS}/${NOBODY}/trigger`, [404, "not_found"]),
    call("triggering under Skip while a run is on", `POST ${JOBS}/${running}/trigger`, [
      409,
      "already_running",
    ]),
    call("cancelling what has ended", `POST /api/v1/occurrences/${completed}/cancel`, [
      409,
      "state_conflict",
    ]),
    call("cancelling what does not exist", `POST /api/v1/occurrences/${NOBODY}/cancel`, [404, "not_found"]),
  ],
  "B23 addresses and methods that do not exist": () => [
    call("an address", "GET /api/v1/job", [404, "not_found"]),
    call("a method", `PATCH ${JOBS}`, [405, "method_not_allowed"]),
    call("a method of an inner address", `DELETE ${JOBS}/${NOBODY}/trigger`, [405, "method_not_allowed"]),
  ],
  "B25 listening to what is not one's own": () => [
    {
      ...call("a foreign page", "GET /api/v1/live", [403, "origin_not_allowed"]),
      headers: { origin: "http://evil.example" },
    },
    {
      ...call("a foreign name", "GET /api/v1/live", [421, "host_not_allowed"]),
      headers: { host: "evil.example" },
    },
    call("a token in the address", "GET /api/v1/live?access_token=abc", [
      400,
      "token_in_query",
      "access_token",
    ]),
    call("an occurrence that does not exist", `GET /api/v1/live?occurrenceId=${NOBODY}`, [404, "not_found"]),
    call("a type that does not exist", "GET /api/v1/live?types=everything", [400, "choice_unknown", "types"]),
  ],
  "B26 cron expressions that are none": () =>
    [
      "60 * * * *",
      "*/0 * * * *",
      "5-1 * * * *",
      "a b c d e",
      "",
      "* * * *",
      "* * * * * * *",
      "1 2 3 4 5 6 7 8",
      "0 0 * * 8",
    ]
      .map((expression) => cron(expression, "cron_invalid")),
  "B27 cron expressions that never come":
    () => [cron("0 0 30 2 *", "cron_never"), cron("0 0 31 4 *", "cron_never")],
  "B28 cron expressions beyond measure": () => [
    cron(Array(5000).fill("1").join().slice(0, 900) + " * * * *", "cron_too_long"),
    cron("*/999999 * * * *", "cron_invalid"),
    cron("99999999999 * * * *", "cron_invalid"),
  ],
  "B30 cron words that are not supported": () => [
    cron("@reboot", "cron_unsupported"),
    cron("TZ=Europe/Berlin 0 0 * * *", "cron_unsupported"),
  ],
  "B31 zones that do not exist": () =>
    ["Mars/Olympus", "+03:00", "", "Europe/Berln"].map((timeZone) =>
      job(`zone ${timeZone}`, { ...CRON, timeZone }, [422, "zone_unknown", "timeZone"])
    ),
};

for (const [name, cases] of Object.entries(ROWS)) {
  Deno.test(name, () =>
    withApi(async (api) => {
      const ids = await prepare(api);
      const before = await contents(api);
      for (const one of cases(ids)) {
        const answer = await send(api, one);
        const what = `${one.what}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 600)}`;
        assertEquals([answer.status, answer.body.code], [one.status, one.code], what);
        assertEquals(answer.headers.get("content-type"), "application/problem+json", what);
        const fields = (answer.body.errors ?? []).map(({ field }: { field: string }) => field);
        assertEquals([...new Set(fields)].sort(), [...one.fields ?? []].sort(), what);
        assert(answer.body.detail.length > 10 && answer.body.requestId !== "", what);
        assert(!/sqlite|\/tmp\/|\.ts:|at async/i.test(JSON.stringify(answer.body)), what);
      }
      assertEquals(await contents(api), before, "nothing was created or changed");
      assertEquals(api.log.complaints, []);
    }, { offers: [offer("SampleJob"), offer("MailJob", { schema: MAIL_SCHEMA as never })] }));
}

Deno.test("B5 B23 what the server refuses before the API sees it, and TRACE", () =>
  withApi(async (api) => {
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, api.api.app.fetch);
    const before = await contents(api);
    const head = (line: string) => `${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n`;
    const post = head(`POST ${JOBS}`) + "Content-Type: application/json\r\n";
    try {
      const status = async (text: string) => (await exchange(server.addr.port, text)).slice(9, 12);
      assertEquals(await status(post + "Content-Length: abc\r\n\r\n{}"), "400");
      assertEquals(await status(post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "), "400");
      // What breaks off within the request gets no answer at all.
      assertEquals(await status(post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "");
      const trace = await exchange(server.addr.port, head(`TRACE ${JOBS}`) + "\r\n");
      assertMatch(trace, /^HTTP\/1.1 405 /);
      assertMatch(trace, /allow: GET, POST, HEAD, OPTIONS/i);
    } finally {
      await server.shutdown();
    }
    assertEquals(await contents(api), before);
  }));

Deno.test("B5 a body without end, or that breaks off, over a real connection", () =>
  withApi(async (api) => {
    const answered = Promise.withResolvers<void>();
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const response = await api.api.app.fetch(request);
      if (request.headers.has("x-breaks-off")) answered.resolve();
      return response;
    });
    const url = `http://127.0.0.1:${server.addr.port}${JOBS}`;
    const before = await contents(api);
    try {
      const large = await fetch(url, {
        method: "POST",
        headers: JSON_TYPE,
        body: new Uint8Array(10_000_000),
      });
      assertEquals([large.status, (await large.json()).code], [413, "body_too_large"]);
      assertMatch(await sendForEver(server.addr.port), /^HTTP\/1.1 413 /);

      const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
      const head =
        `POST ${JOBS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Breaks-Off: 1\r\n`;
      await connection.write(new TextEncoder().encode(`${head}Content-Length: 100\r\n\r\n{"displayName":`));
      connection.close();
      await answered.promise;
    } finally {
      await server.shutdown();
    }
    assertEquals(await contents(api), before);
    assertEquals(api.log.complaints, []);
  }));

Deno.test("B29 runs that could bury a server are accepted with a warning", () =>
  withApi(async (api) => {
    const { status, body } = await api.post(JOBS, {
      ...CRON,
      cronExpression: "* * * * * *",
      concurrentExecutionPolicy: "Allow",
      executionTimeoutSeconds: 3600,
    });
    assertEquals([status, body.warnings.map(({ code }: { code: string }) => code)], [201, ["too_frequent"]]);
  }));

Deno.test("B30 the documented cron words are accepted, in either case", () =>
  withApi(async (api) => {
    for (
      const expression of [
        "0 0 L * *",
        "0 0 * * 5#2",
        "0 0 15W * *",
        "H H * * *",
        "0 0 ? * MON-fri",
        "0 0 1 jan *",
      ]
    ) {
      const { status, body } = await api.post(JOBS, { ...CRON, cronExpression: expression });
      assertEquals(status, 201, `${expression}: ${JSON.stringify(body)}`);
    }
  }));

Deno.test("B13 what looks like a pattern or like SQL is searched for letter for letter", () =>
  withApi(async (api) => {
    await api.createJob({ displayName: "plain" });
    for (const search of ["%", "_", "\\", "'); DROP TABLE jobs; --", "(a+)+$", "*"]) {
      const { status, body } = await api.get(`${JOBS}?search=${encodeURIComponent(search)}`);
      assertEquals([status, body.items], [200, []], search);
    }
    assertEquals((await api.get(JOBS)).body.items.length, 1);
  }));

Deno.test("B6 a body made to exhaust its reader is refused, not read for ever", () =>
  withApi(async (api) => {
    for (
      const body of ["[".repeat(500_000), `[${"1,".repeat(500_000)}1]`, `{"a":"${"\\\\".repeat(250_000)}`]
    ) {
      const started = performance.now();
      const answer = await send(api, job("", body, [0, ""]));
      assert([400, 422].includes(answer.status), `${body.slice(0, 10)}… was answered ${answer.status}`);
      // Some milliseconds when it is right; a reader that goes back and forth would take minutes.
      assert(performance.now() - started < 10_000, `${body.slice(0, 10)}… took for ever`);
    }
  }));

async function prepare(api: TestApi): Promise<Ids> {
  const running = await api.createJob();
  await api.claim(await api.trigger(running));
  const completed = await api.trigger(await api.createJob());
  await api.run(completed);
  return {
    idle: await api.createJob(),
    running,
    inactive: await api.createJob({ isActive: false }),
    completed,
  };
}

/** All that a request could have created or changed. */
async function contents(api: TestApi): Promise<unknown> {
  const { jobs, history } = api.adapters.store;
  return [await jobs.list({}, 100, null), await history.occurrences({}, 100, null)];
}

async function send(api: TestApi, { method, path, body, headers = {} }: Case): Promise<Answered> {
  const response = await api.api.app.request(path, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: JSON.parse(text) };
}

/** Sends bytes and gives everything that comes back until the server closes. */
async function exchange(port: number, text: string): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    await connection.write(new TextEncoder().encode(text));
    const buffer = new Uint8Array(4096);
    let received = "";
    for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
      received += new TextDecoder().decode(buffer.subarray(0, count));
    }
    return received;
  } finally {
    connection.close();
  }
}

/** Sends a body without end until the server closes; gives what it answered. */
async function sendForEver(port: number): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const head = `POST ${JOBS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  const chunk = new TextEncoder().encode(`10000\r\n${" ".repeat(0x10000)}\r\n`);
  try {
    await connection.write(new TextEncoder().encode(`${head}Transfer-Encoding: chunked\r\n\r\n`));
    const buffer = new Uint8Array(4096);
    const answered = connection.read(buffer).then((count) =>
      new TextDecoder().decode(buffer.subarray(0, count ?? 0))
    );
    try {
      for (;;) await connection.write(chunk);
    } catch {
      // The server has closed, as it should.
    }
    return await answered;
  } finally {
    connection.close();
  }
}
