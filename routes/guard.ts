/**
 * Who may speak to this API at all.
 *
 * On loopback without a token anyone on this machine may, and nobody else: so the one attacker left is a web page
 * in a browser of this machine. A page under a foreign name that resolves to 127.0.0.1 (DNS rebinding) is told by
 * its `Host`, any other page by its `Origin` or `Sec-Fetch-Site`; and since bodies must be application/json and no
 * CORS header is ever sent, a form or a simple request gets nowhere either.
 *
 * With a token each request carries it, in `Authorization` and nowhere else, because addresses end up in logs and
 * histories; a browser's WebSocket, which cannot send that header, carries it as a subprotocol. Health and the
 * pages, which hold no data, need none.
 */
import type { MiddlewareHandler } from "hono";
import type { RequestEnv } from "./endpoint.ts";
import { problem } from "./errors.ts";

export interface GuardSettings {
  /** True when only this machine can reach the address that is listened on. */
  readonly loopback: boolean;
  /** The host that is listened on. */
  readonly host: string;
  /** Further names by which it is reached, e.g. through a proxy: `jobs.example.com`, with a port or without. */
  readonly allowedHosts: readonly string[];
  /** SHA-256 of the token, hexadecimal; null when none is needed. */
  readonly token: { readonly hash: string } | null;
}

/** Subprotocol of live events, and the prefix of the one that carries a token (base64url). */
export const LIVE_PROTOCOL = "milvaion.v1";
export const TOKEN_PROTOCOL = "milvaion.bearer.";

const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"];
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];
const TOKEN_PARAMETERS = ["token", "access_token", "api_key", "apikey", "bearer", "authorization"];

/** Reached without a token: what orchestrators ask, and pages, which ask for the token themselves. */
const OPEN_PATHS = [
  "/",
  "/docs",
  "/livez",
  "/readyz",
  "/api/v1/healthcheck/live",
  "/api/v1/healthcheck/ready",
];

/** Refuses who may not speak. Throws ApiProblem; throws at once when the settings would leave the API open. */
export function guard(settings: GuardSettings): MiddlewareHandler<RequestEnv> {
  const { token } = settings;
  if (token === null && !settings.loopback) {
    throw new Error(
      `Cannot serve ${settings.host} without a token: only loopback is open. Set MILVAION_API_TOKEN`,
    );
  }
  return async (context, next) => {
    const request = context.req.raw;
    const url = new URL(request.url);
    const host = (request.headers.get("host") ?? url.host).toLowerCase();
    if (token === null) checkHost(host, settings);
    checkOrigin(request, host, settings);
    checkQuery(url);
    const isOpen = OPEN_PATHS.includes(url.pathname) || url.pathname.startsWith("/assets/");
    if (token !== null && !isOpen) await checkToken(request.headers, token.hash);
    await next();
  };
}

function checkHost(host: string, settings: GuardSettings): void {
  const name = host.replace(/:\d*$/, "");
  const known = [...LOOPBACK_NAMES, settings.host, `[${settings.host}]`, ...settings.allowedHosts];
  if (known.some((one) => one.toLowerCase() === host || one.toLowerCase() === name)) return;
  throw problem(
    "host_not_allowed",
    "This name is not one of this server's. Use localhost, or list the name in MilvaionConfig.Api.AllowedHosts.",
  );
}

function checkOrigin(request: Request, host: string, settings: GuardSettings): void {
  const { headers, method } = request;
  const origin = headers.get("origin")?.toLowerCase();
  const own = [host, ...settings.allowedHosts.map((one) => one.toLowerCase())];
  const isForeign = origin !== undefined &&
    !own.some((one) => origin === `http://${one}` || origin === `https://${one}`);
  const site = headers.get("sec-fetch-site");
  const isCrossSite = !SAFE_METHODS.includes(method) && site !== null && site !== "same-origin" &&
    site !== "none";
  if (isForeign || isCrossSite) {
    throw problem(
      "origin_not_allowed",
      "Only this server's own pages and programs outside of a browser may do this.",
    );
  }
}

function checkQuery(url: URL): void {
  for (const name of url.searchParams.keys()) {
    if (!TOKEN_PARAMETERS.includes(name.toLowerCase())) continue;
    const message =
      "Send the token in the header Authorization: Bearer <token>; consider this one disclosed.";
    throw problem("token_in_query", message, { errors: [{ field: name, code: "token_in_query", message }] });
  }
}

async function checkToken(headers: Headers, expectedHash: string): Promise<void> {
  const given = bearer(headers.get("authorization")) ?? protocolToken(headers.get("sec-websocket-protocol"));
  if (given !== null && isEqual(await sha256(given), expectedHash.toLowerCase())) return;
  throw problem("token_invalid", "Send the header Authorization: Bearer <token> with this server's token.", {
    headers: {
      "www-authenticate": 'Bearer realm="milvaion"' + (given === null ? "" : ', error="invalid_token"'),
    },
  });
}

function bearer(header: string | null): string | null {
  return /^bearer +([^\s]+) *$/i.exec(header ?? "")?.[1] ?? null;
}

/** The token among offered WebSocket subprotocols. */
function protocolToken(header: string | null): string | null {
  const offered = (header ?? "").split(",").map((one) => one.trim()).find((one) =>
    one.startsWith(TOKEN_PROTOCOL)
  );
  if (offered === undefined) return null;
  try {
    const bytes = Uint8Array.fromBase64(offered.slice(TOKEN_PROTOCOL.length), { alphabet: "base64url" });
    return new TextDecoder().decode(bytes);
  } catch {
    return null;
  }
}

/** SHA-256 of a text, hexadecimal. */
export async function sha256(text: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}

/** Takes the same time wherever two texts of one length differ. */
function isEqual(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let at = 0; at < a.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at);
  return difference === 0;
}
