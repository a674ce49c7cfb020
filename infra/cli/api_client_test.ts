/** How a verb speaks to the server: with which token, and how it ends when that goes wrong (B44). */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Desk, json, problem, runCommand } from "../../tests/support/cli_desk.ts";

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
  const { code, error } = await runCommand(["jobs", "list", "--url", url], {});
  assertEquals(code, 69);
  assertMatch(
    error,
    /^error: Cannot reach http:\/\/127\.0\.0\.1:\d+: .*refused.*\nhint: Is it running\? Start it with `milvaion run`/i,
  );
});

Deno.test("B44 a server without valid TLS ends with 69 and says so", async () => {
  await using desk = new Desk(() => json({}));
  const { code, error } = await runCommand(
    ["jobs", "list", "--url", desk.url.replace("http:", "https:")],
    {},
  );
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
  const untrusted = await runCommand(["jobs", "list", "--url", "https://a"], { fetch: refuse });
  assertEquals(untrusted.code, 69);
  assertMatch(
    untrusted.error,
    /^error: Cannot reach https:\/\/a: invalid peer certificate: UnknownIssuer\nhint: .*certificate/,
  );
});

Deno.test("B44 a server that never answers ends with 69", async () => {
  const never: typeof fetch = () => Promise.reject(new DOMException("Signal timed out.", "TimeoutError"));
  const { code, error } = await runCommand(["jobs", "list"], { fetch: never });
  assertEquals(code, 69);
  assertMatch(error, /no answer within 30 s/);
});

Deno.test("B44 an address that is none, or that holds a password, ends with 64 and does not repeat the password", async () => {
  for (const url of ["nonsense", "ftp://a", "http://me:hunter2@a"]) {
    const { code, error } = await runCommand(["jobs", "list", "--url", url], {});
    assertEquals(code, 64);
    assertMatch(error, /^error: --url is no address/);
    assert(!error.includes("hunter2"));
  }
});

Deno.test("B44 a token that no header can hold ends with 64 and is not repeated", async () => {
  const { code, error } = await runCommand(["jobs", "list", "--token", "secret\nx-evil: 1"], {});
  assertEquals(code, 64);
  assert(!error.includes("secret"));
});

Deno.test("B44 a token file that cannot be read ends with 78", async () => {
  const { code } = await runCommand(["jobs", "list"], { env: { MILVAION_API_TOKEN_FILE: "/nowhere/token" } });
  assertEquals(code, 78);
});

Deno.test("what changes something says who is behind it: --by, else who is logged in", async () => {
  await using desk = new Desk(() => json({}));
  const said = async (args: readonly string[], env: Record<string, string> = {}) => {
    await desk.run(args, { env });
    return desk.last.headers.get("x-milvaion-user");
  };
  const pause = ["jobs", "pause", "1", "--reason", "snow"];
  assertEquals(await said([...pause, "--by", "Jörg M."], { USER: "root" }), "J%C3%B6rg%20M.");
  assertEquals(await said(pause, { USER: "ann", LOGNAME: "bob" }), "ann");
  assertEquals(await said(pause, { LOGNAME: "bob" }), "bob");
  assertEquals(await said(pause), null);
  assertEquals(await said(["jobs", "list"], { USER: "ann" }), null, "reading needs no name");
});
