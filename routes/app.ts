/**
 * The API as a Hono app. It never listens: `main.ts` gives it to a server, tests call it directly.
 *
 *   request → id → guard (who may speak) → endpoint (reads, checks, answers) → security headers → response
 */
import { Hono } from "hono";
import { alertsEndpoint } from "./alerts.ts";
import { bottleneckEndpoint } from "./bottlenecks.ts";
import { bulkEndpoints } from "./bulk.ts";
import { bulkCancelEndpoint } from "./bulk_cancel.ts";
import type { ApiDeps } from "./deps.ts";
import { type Answer, type Endpoint, endpoint, type RequestEnv } from "./endpoint.ts";
import { problem, problemResponse } from "./errors.ts";
import { explainEndpoints } from "./explain.ts";
import { failedEndpoints } from "./failed.ts";
import { guard } from "./guard.ts";
import { healthEndpoints } from "./health.ts";
import { jobBatchEndpoints } from "./job_batches.ts";
import { jobEndpoints } from "./jobs.ts";
import { liveEndpoint } from "./live.ts";
import { capacityEndpoints } from "./capacity.ts";
import { createLiveHub } from "./live_hub.ts";
import { metricsEndpoint } from "./metrics.ts";
import { occurrenceEndpoints } from "./occurrences.ts";
import { openApiDocument } from "./openapi.ts";
import { pageEndpoints } from "./pages.ts";
import { createPayloads } from "./payload.ts";
import { readAfter } from "./read_after.ts";
import { scalingEndpoints } from "./scaling.ts";
import { scheduleEndpoints } from "./schedules.ts";
import { skipEndpoints } from "./skips.ts";
import { triggerEndpoints } from "./triggers.ts";
import { workerEndpoints } from "./workers.ts";

export interface Api {
  readonly app: Hono<RequestEnv>;
  /** All that the documentation tells of. */
  readonly endpoints: readonly Endpoint[];
  /** The first step of a stop: not ready any more, and live connections end. Requests are still answered. */
  close(): void;
}

const SECURITY_HEADERS: readonly (readonly [name: string, value: string])[] = [
  [
    "content-security-policy",
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"],
  ["cross-origin-resource-policy", "same-origin"],
  ["cross-origin-opener-policy", "same-origin"],
  ["cache-control", "no-store"],
];

/** Builds the API. Throws when its settings would leave it open to the network. */
export function createApp(deps: ApiDeps): Api {
  const { settings, log, random } = deps;
  const hub = createLiveHub(deps);
  const payloads = createPayloads(log, settings.maxJobDataBytes);
  let isStopping = false;

  const endpoints: Endpoint[] = [
    ...jobBatchEndpoints(deps, payloads),
    ...jobEndpoints(deps, payloads),
    ...triggerEndpoints(deps, payloads),
    ...scheduleEndpoints(deps),
    ...skipEndpoints(deps),
    bulkCancelEndpoint(deps),
    ...occurrenceEndpoints(deps),
    ...failedEndpoints(deps, payloads),
    ...bulkEndpoints(deps),
    ...explainEndpoints(deps),
    ...workerEndpoints(deps),
    alertsEndpoint(deps),
    ...capacityEndpoints(deps),
    bottleneckEndpoint(deps, () => hub.connections),
    ...scalingEndpoints(deps, () => hub.connections),
    liveEndpoint(deps, hub),
    ...healthEndpoints(deps, () => isStopping),
    metricsEndpoint(deps),
  ];
  endpoints.push(documentation(endpoints, settings.version));

  const app = new Hono<RequestEnv>();
  app.use(async (context, next) => {
    const requestId = random.uuid();
    context.set("requestId", requestId);
    await next();
    // The answer that opens a WebSocket is the server's own.
    if (context.res.status === 101) return;
    context.res.headers.set("x-request-id", requestId);
    for (const [name, value] of SECURITY_HEADERS) context.res.headers.set(name, value);
  });
  app.use(guard(settings));
  app.use(readAfter(deps.store.reads));
  mount(app, [...endpoints, ...pageEndpoints()], deps);
  app.notFound((context) => {
    const detail = `There is nothing at ${context.req.path}. /docs lists what there is.`;
    return problemResponse(problem("not_found", detail), context.get("requestId"), log);
  });
  app.onError((error, context) => problemResponse(error, context.get("requestId"), log));

  return {
    app,
    endpoints,
    close() {
      isStopping = true;
      hub.close();
    },
  };
}

/** Requests are counted by endpoint, so that no label comes from outside. */
function mount(
  app: Hono<RequestEnv>,
  endpoints: readonly Endpoint[],
  { meter, clock }: Pick<ApiDeps, "meter" | "clock">,
): void {
  for (const [path, there] of Map.groupBy(endpoints, ({ path }) => path)) {
    const route = path.replace(/\{(\w+)\}/g, ":$1");
    for (const { method, answer } of there) {
      const labels = { route: `${method} ${path}` };
      app.on(method, route, async (context) => {
        const began = clock.mono();
        meter.count("http_requests_total", 1, labels);
        try {
          return toResponse(await answer(context));
        } finally {
          meter.count("http_request_seconds_total", (clock.mono() - began) / 1000, labels);
        }
      });
    }
    const methods = there.map(({ method }) => method);
    const allow = [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(", ");
    app.all(route, ({ req }) => {
      // No CORS header: pages from elsewhere have no business here.
      if (req.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
      throw problem("method_not_allowed", `Possible here: ${allow}.`, { headers: { allow } });
    });
  }
}

function toResponse(answer: Answer): Response {
  if (answer instanceof Response) return answer;
  const { status, body, headers } = answer;
  if (body === undefined) {
    return new Response(null, { status, ...(headers === undefined ? {} : { headers }) });
  }
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

function documentation(endpoints: readonly Endpoint[], version: string): Endpoint {
  // Written when first asked for: most processes never are.
  let text: string | null = null;
  return endpoint({
    method: "GET",
    path: "/api/v1/openapi.json",
    tag: "health",
    summary: "Describe this API (OpenAPI 3.1)",
    answers: {
      200: { description: "The document that /docs is drawn from", contentType: "application/json" },
    },
    problems: [],
    handle() {
      text ??= JSON.stringify(openApiDocument(endpoints, { version }));
      return new Response(text, { headers: { "content-type": "application/json" } });
    },
  });
}
