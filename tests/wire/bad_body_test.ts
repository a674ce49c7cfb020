/** Bodies that are refused: not JSON, of another type, too large, made to exhaust or to trick their reader. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SAMPLE, withApi } from "../support/api.ts";
import { contents, job, JOBS, JSON_TYPE, refuses, send } from "./bad_input.ts";

refuses("B3 a body that is not one JSON document", () => [
  job("not JSON", "hello", [400, "json_invalid"]),
  job("spaces only", "  ", [400, "json_invalid"]),
  { ...job("nothing", "{}", [400, "json_invalid"]), body: null },
  job("a byte order mark", "\uFEFF{}", [400, "json_invalid"]),
  job("a trailing comma", '{"displayName":"x",}', [400, "json_invalid"]),
  job("two documents", "{}{}", [400, "json_invalid"]),
  job("duplicate keys", '{"displayName":"a","displayName":"b"}', [400, "json_duplicate_key"]),
  { ...job("not UTF-8", "{}", [400, "json_invalid"]), body: new Uint8Array([0x22, 0xFF, 0x22]) },
]);

refuses("B4 a body of another type, charset or encoding", () => [
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
]);

refuses("B5 a body that is too large", () => [
  job("10 MB", JSON.stringify({ ...SAMPLE, description: "x".repeat(10_000_000) }), [413, "body_too_large"]),
  { ...job("endless", SAMPLE, [413, "body_too_large"]), body: chunked() },
  {
    ...job("a Content-Length that lies", " ".repeat(2_000_000), [413, "body_too_large"]),
    headers: { ...JSON_TYPE, "content-length": "2" },
  },
]);

refuses("B6 a body made to exhaust its reader", () => [
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
]);

refuses("B7 keys that every object inherits", () => [
  job("__proto__", '{"__proto__":{"isAdmin":true}}', [422, "key_forbidden", "__proto__"]),
  job("constructor", '{"jobData":{"constructor":{"prototype":{}}}}', [
    422,
    "key_forbidden",
    "jobData.constructor",
  ]),
  job("toString", '{"jobData":{"toString":1}}', [422, "key_forbidden", "jobData.toString"]),
]);

refuses("B9 numbers that are none, or would become others", () => [
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
]);

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

function chunked(): ReadableStream<Uint8Array> {
  const chunk = new TextEncoder().encode(" ".repeat(64 * 1024));
  return new ReadableStream({ pull: (controller) => controller.enqueue(chunk) });
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
