import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Hono } from "hono";
import type { RequestEnv } from "./endpoint.ts";
import { problemResponse } from "./errors.ts";
import { guard, type GuardSettings, sha256 } from "./guard.ts";
import { KeptLog } from "../tests/support/quiet.ts";

const LOOPBACK: GuardSettings = { loopback: true, host: "127.0.0.1", allowedHosts: [], token: null };
const TOKEN = "abcdef0123456789";

async function guarded(change: Partial<GuardSettings> = {}) {
  const token = change.token === undefined ? null : { hash: await sha256(TOKEN) };
  const app = new Hono<RequestEnv>();
  app.use(guard({ ...LOOPBACK, ...change, token }));
  app.all("*", (context) => context.text("in"));
  app.onError((error) => problemResponse(error, "r", new KeptLog()));
  return async (path: string, headers: Record<string, string> = {}, method = "GET") => {
    const response = await app.request(`http://localhost:5000${path}`, { headers, method });
    return { status: response.status, text: await response.text(), headers: response.headers };
  };
}

const WITH_TOKEN = { loopback: false, host: "0.0.0.0", token: { hash: "" } };

Deno.test("on loopback this machine's names are served, with any port, and no others", async () => {
  const ask = await guarded({ allowedHosts: ["jobs.example.com"] });
  for (const host of ["localhost:5000", "127.0.0.1", "[::1]:8080", "LOCALHOST", "jobs.example.com"]) {
    assertEquals((await ask("/api/v1/jobs", { host })).status, 200, host);
  }
  for (const host of ["evil.example", "localhost.evil.example:5000", "127.0.0.1.nip.io", "xlocalhost"]) {
    assertEquals((await ask("/api/v1/jobs", { host })).status, 421, host);
  }
});

Deno.test("a web page from elsewhere is refused, whatever it asks; this server's own pages are not", async () => {
  const ask = await guarded();
  const host = "localhost:5000";
  const own = { host, origin: "http://localhost:5000", "sec-fetch-site": "same-origin" };
  assertEquals((await ask("/api/v1/jobs", own, "POST")).status, 200);
  for (const origin of ["http://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:5000"]) {
    assertEquals((await ask("/api/v1/live", { host, origin })).status, 403, origin);
  }
  assertEquals((await ask("/api/v1/jobs", { host, "sec-fetch-site": "cross-site" }, "POST")).status, 403);
  assertEquals((await ask("/api/v1/jobs", { host, "sec-fetch-site": "same-site" }, "DELETE")).status, 403);
  assertEquals((await ask("/", { host, "sec-fetch-site": "cross-site" })).status, 200);
});

Deno.test("with a token each request needs it, whatever its host; health and the empty pages do not", async () => {
  const ask = await guarded(WITH_TOKEN);
  assertEquals((await ask("/api/v1/jobs", { authorization: `Bearer ${TOKEN}` })).status, 200);
  for (const path of ["/livez", "/readyz", "/api/v1/healthcheck/live", "/", "/assets/home.js"]) {
    assertEquals((await ask(path)).status, 200, path);
  }
  for (const path of ["/api/v1/jobs", "/metrics", "/api/v1/openapi.json", "/api/v1/live"]) {
    const { status, headers, text } = await ask(path, { host: "anything.example" });
    assertEquals(status, 401, path);
    assertStringIncludes(headers.get("www-authenticate") ?? "", "Bearer");
    assertEquals(JSON.parse(text).code, "token_invalid");
  }
});

Deno.test("the token is taken from the header, or from a WebSocket's subprotocol, and nowhere else", async () => {
  const ask = await guarded(WITH_TOKEN);
  const status = async (path: string, headers: Record<string, string>) => (await ask(path, headers)).status;
  const base64 = btoa(TOKEN).replaceAll("=", "");
  assertEquals(await status("/api/v1/jobs", { authorization: `Bearer ${TOKEN}` }), 200);
  assertEquals(await status("/api/v1/jobs", { authorization: `bearer ${TOKEN}` }), 200);
  assertEquals(
    await status("/x", { "sec-websocket-protocol": `milvaion.v1, milvaion.bearer.${base64}` }),
    200,
  );
  assertEquals(await status("/x", { authorization: `Bearer ${TOKEN}x` }), 401);
  assertEquals(await status("/x", { authorization: `Basic ${btoa("a:" + TOKEN)}` }), 401);
  assertEquals(await status("/x", { "sec-websocket-protocol": "milvaion.bearer.???" }), 401);
  assertEquals(await status(`/x?access_token=${TOKEN}`, {}), 400);
  assertEquals(await status(`/x?token=${TOKEN}`, { authorization: `Bearer ${TOKEN}` }), 400);
});

Deno.test("an address that others can reach is not served without a token", () => {
  assertThrows(() => guard({ ...LOOPBACK, loopback: false, host: "0.0.0.0" }), Error, "MILVAION_API_TOKEN");
});
