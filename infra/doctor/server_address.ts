/** Addresses of servers: what may be shown of them, and what they say about safety. */
import { type Finding, ok, warning } from "./check.ts";

export interface ServerAddress {
  /** `host:port`, never credentials. */
  readonly place: string;
  readonly host: string;
  readonly user: string;
  readonly password: string;
  /** The server is on this machine. */
  readonly isLoopback: boolean;
}

export function serverAddress(url: string, defaultPort: number): ServerAddress {
  const parsed = URL.parse(url);
  const host = parsed?.hostname ?? "";
  const port = parsed === null || parsed.port === "" ? defaultPort : Number(parsed.port);
  return {
    place: `${host === "" ? "localhost" : host}:${port}`,
    host,
    user: parsed?.username ?? "",
    password: parsed?.password ?? "",
    isLoopback: /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|)$/.test(host),
  };
}

/** Whether passwords and job data travel so that others on the network can read them. */
export function encryption(address: ServerAddress, isEncrypted: boolean, remedy: string): Finding {
  if (isEncrypted) return ok("The connection is encrypted.");
  if (address.isLoopback) return ok("Not encrypted; the server is on this machine.");
  return warning(`The connection to ${address.place} is not encrypted.`, remedy);
}

const SKEW_TO_WARN_MS = 500;
const SKEW_TO_FAIL_MS = 5000;

/** How far a clock is from this machine's: ok, worth a warning, or too far. */
export function judgeSkew(
  skewMs: number,
): { readonly state: "ok" | "warning" | "failed"; readonly words: string } {
  const amount = Math.abs(skewMs);
  const words = amount < 50
    ? "agrees with this machine's"
    : `is ${(amount / 1000).toFixed(2)} s ${skewMs > 0 ? "ahead of" : "behind"} this machine's`;
  return {
    state: amount >= SKEW_TO_FAIL_MS ? "failed" : amount >= SKEW_TO_WARN_MS ? "warning" : "ok",
    words,
  };
}

/** Measures a clock: the answer is taken to be from the middle of the time it took. Milliseconds. */
export async function skewOf(
  clock: { now(): number; mono(): number },
  ask: () => Promise<number>,
): Promise<number> {
  const askedAt = clock.mono();
  const theirs = await ask();
  const took = clock.mono() - askedAt;
  return theirs - (clock.now() - took / 2);
}
