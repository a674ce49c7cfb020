/** What an instance answers between opening its port and having its servers: alive, not ready, and why. */
import { PROBLEMS } from "./errors.ts";

const LIVE_PATHS = ["/livez", "/api/v1/healthcheck/live"];
const RETRY_AFTER_SECONDS = 2;

/** `waitingFor` names the server that is not there yet, e.g. `PostgreSQL (db:5432)`. */
export function startingAnswer(request: Request, waitingFor: string | null): Response {
  if (LIVE_PATHS.includes(new URL(request.url).pathname)) return Response.json({ status: "ok" });
  const [status, title] = PROBLEMS.not_ready;
  const detail = waitingFor === null
    ? "This instance is starting."
    : `This instance is starting and waits for ${waitingFor}.`;
  return new Response(JSON.stringify({ type: "/docs#not_ready", title, status, code: "not_ready", detail }), {
    status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "retry-after": String(RETRY_AFTER_SECONDS),
    },
  });
}
