/**
 * Who says to be behind a request. It is a claim that is kept and shown, and no authentication: whoever may speak
 * (guard.ts) may give any name.
 */
import { problem } from "./errors.ts";

export const USER_HEADER = "X-Milvaion-User";
/** Who is behind a request that does not say. */
export const UNNAMED_USER = "api";

const MAX_LENGTH = 100;

/** The name that came with a request, else `api`. Throws ApiProblem. */
export function userOf(headers: Headers): string {
  const given = headers.get(USER_HEADER);
  if (given === null) return UNNAMED_USER;
  const name = decoded(given)?.trim();
  if (name !== undefined && name !== "" && name.length <= MAX_LENGTH && !/\p{C}/u.test(name)) return name;
  const message = `${USER_HEADER} has 1 to ${MAX_LENGTH} characters, none of them a control character; ` +
    "beyond ASCII they are percent-encoded UTF-8, like J%C3%B6rg.";
  throw problem("user_invalid", message, { errors: [{ field: USER_HEADER, code: "user_invalid", message }] });
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
