/**
 * Reads that follow a write. Where the store has copies, the answer to a request that may have written carries a
 * position, as a header and, for browsers, as a cookie; who shows it with a read gets an answer that has the write.
 */
import type { MiddlewareHandler } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { POSITION, type Position, type Reads } from "../actors/ports/reads.ts";
import type { RequestEnv } from "./endpoint.ts";
import { invalidRequest } from "./errors.ts";

export const POSITION_HEADER = "milvaion-position";
const POSITION_COOKIE = "milvaion_position";
/** Long after a write a copy that may be read from has it. */
const COOKIE_SECONDS = 3600;
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/** For the documentation of lists. */
export const POSITION_HEADERS = {
  [POSITION_HEADER]:
    "As the answer to a write gave it: the list then has that write, from whatever copy it is read. `latest` reads " +
    "the store itself. Browsers have it as a cookie.",
};

/** Notes what a request shows, and shows what it wrote. Throws ApiProblem for what is no position. */
export function readAfter(reads: Reads): MiddlewareHandler<RequestEnv> {
  return async (context, next) => {
    const given = context.req.header(POSITION_HEADER);
    const kept = getCookie(context, POSITION_COOKIE);
    context.set("readAfter", given !== undefined ? positionOf(given) : isPosition(kept) ? kept : null);
    await next();
    const { status } = context.res;
    // An upgraded connection has no more headers; a refused request has written nothing.
    if (SAFE_METHODS.includes(context.req.method) || (status >= 400 && status < 500)) return;
    const position = await reads.written();
    if (position === null) return;
    context.res.headers.set(POSITION_HEADER, position);
    setCookie(context, POSITION_COOKIE, position, {
      path: "/",
      httpOnly: true,
      sameSite: "Strict",
      maxAge: COOKIE_SECONDS,
    });
  };
}

function isPosition(text: string | undefined): text is Position {
  return text !== undefined && POSITION.test(text);
}

function positionOf(given: string): Position | "latest" {
  if (given === "latest" || isPosition(given)) return given;
  const message = `${POSITION_HEADER} is what the answer to a write gave, such as 16/B374D848, or latest.`;
  throw invalidRequest([{ field: POSITION_HEADER, code: "format", message }]);
}
