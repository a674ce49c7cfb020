/**
 * Live events over WebSocket, and over server-sent events for what cannot speak that. Both begin with a subscription
 * made of the query; a WebSocket may change it:
 *
 *   client → server   {"type":"subscribe","id":"a","jobId":…,"occurrenceId":…,"types":[…]}   {"type":"unsubscribe","id":"a"}
 *   server → client   {"type":"events","events":[…]}   {"type":"subscribed","id":"a"}   {"type":"unsubscribed","id":"a"}
 *                     {"type":"refused","id":"a","code":…,"detail":…}   {"type":"heartbeat","at":…}
 *
 * The first subscription has the id "query".
 */
import type { Context } from "hono";
import { z } from "zod";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint, type RequestEnv } from "./endpoint.ts";
import { ApiProblem, invalidBody, notFound, problem } from "./errors.ts";
import { idField, refuse } from "./fields.ts";
import { LIVE_PROTOCOL } from "./guard.ts";
import {
  CLIENT_EVENT_TYPES,
  type ClientEventType,
  type LiveClient,
  type LiveFilter,
  type LiveHub,
  MAX_CONNECTIONS,
  MAX_SUBSCRIPTIONS,
} from "./live_hub.ts";
import { JsonFault, parseStrictJson } from "./strict_json.ts";
import { fieldErrors } from "./validation.ts";

/** A client with more than this unsent is dropped rather than fed from memory. Bytes. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;

/** The longest message of a client, and the most it may hold. */
const MAX_MESSAGE_LENGTH = 16 * 1024;
const MAX_MESSAGE_ITEMS = 100;

/** Close codes of RFC 6455. */
const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;
const MESSAGE_TOO_BIG = 1009;
const TRY_AGAIN_LATER = 1013;

const eventType = z.enum(CLIENT_EVENT_TYPES);

const typesQuery = z.string().transform((text, context): readonly ClientEventType[] => {
  const types = text.split(",").map((one) => CLIENT_EVENT_TYPES.find((type) => type === one));
  const known = types.filter((type) => type !== undefined);
  if (known.length === types.length) return known;
  return refuse(
    context,
    "choice_unknown",
    `must be of ${CLIENT_EVENT_TYPES.join(", ")}.`,
    CLIENT_EVENT_TYPES,
  );
}).describe(
  "One or several, separated by commas; lines and progress come by themselves for one occurrence only",
);

const clientMessage = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("subscribe"),
    id: z.string().min(1).max(64),
    jobId: idField.optional(),
    occurrenceId: idField.optional(),
    types: z.array(eventType).min(1).optional(),
  }),
  z.strictObject({ type: z.literal("unsubscribe"), id: z.string().min(1).max(64) }),
]);

/** The endpoint of live events. */
export function liveEndpoint(deps: ApiDeps, hub: LiveHub): Endpoint {
  return endpoint({
    method: "GET",
    path: "/api/v1/live",
    tag: "live",
    summary: "Follow what happens, by WebSocket or server-sent events",
    description:
      "At most once, and nothing from before: read the lists first or again. A browser's WebSocket offers " +
      `the subprotocols ${LIVE_PROTOCOL} and, where a token is needed, milvaion.bearer.<token in base64url>.`,
    query: z.strictObject({
      jobId: idField.optional(),
      occurrenceId: idField.optional(),
      types: typesQuery.optional(),
    }),
    answers: { 200: { description: "A stream of events", contentType: "text/event-stream" } },
    problems: ["request_invalid", "not_found", "too_many_connections"],
    async handle({ query, context }) {
      await checkExists(deps, query);
      if (hub.connections >= MAX_CONNECTIONS) throw tooMany();
      const isWebSocket = context.req.header("upgrade")?.toLowerCase() === "websocket";
      return isWebSocket ? socketAnswer(deps, hub, context, query) : streamAnswer(hub, context, query);
    },
  });
}

/** Whoever waits for news of something that is not there would wait for ever. */
async function checkExists({ store }: ApiDeps, { jobId, occurrenceId }: LiveFilter): Promise<void> {
  if (jobId !== undefined && await store.jobs.get(jobId) === null) throw notFound("job", jobId);
  if (occurrenceId !== undefined && await store.history.occurrence(occurrenceId) === null) {
    throw notFound("occurrence", occurrenceId);
  }
}

function tooMany(): ApiProblem {
  return problem(
    "too_many_connections",
    `This instance holds ${MAX_CONNECTIONS} live connections; try another.`,
    {
      headers: { "retry-after": "5" },
    },
  );
}

// ---------------------------------------------------------------------------------------- server-sent events

function streamAnswer(hub: LiveHub, context: Context<RequestEnv>, filter: LiveFilter): Response {
  const headers = { "content-type": "text/event-stream", "x-accel-buffering": "no" };
  // Whoever only asks for the headers would leave a stream behind that nobody reads.
  if (context.req.raw.method === "HEAD") return new Response(null, { headers });
  const encoder = new TextEncoder();
  let leave = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => controller.enqueue(encoder.encode(text));
      const client: LiveClient = {
        deliver(events) {
          write(events.map(({ type, text }) => `event: ${type}\ndata: ${text}\n\n`).join(""));
          const isFull = (controller.desiredSize ?? 0) <= 0;
          if (isFull) client.end("too-slow", "Too much was left unread; connect again and read the lists.");
        },
        heartbeat: (at) => write(`: ${at}\n\n`),
        end(why, reason) {
          leave();
          write(`event: closed\ndata: ${JSON.stringify({ type: "closed", why, reason })}\n\n`);
          controller.close();
        },
      };
      const connection = hub.connect(client);
      if (connection === null) throw tooMany();
      leave = () => connection.close();
      connection.subscribe("query", filter);
      write("retry: 2000\n\n");
    },
    cancel: () => leave(),
  }, { highWaterMark: MAX_UNSENT_BYTES, size: (chunk) => chunk.length });
  return new Response(body, { headers });
}

// -------------------------------------------------------------------------------------------------- WebSocket

function socketAnswer(
  deps: ApiDeps,
  hub: LiveHub,
  context: Context<RequestEnv>,
  filter: LiveFilter,
): Response {
  const offered = (context.req.header("sec-websocket-protocol") ?? "").split(",").map((one) => one.trim());
  const options = offered.includes(LIVE_PROTOCOL) ? { protocol: LIVE_PROTOCOL } : {};
  const { response, socket } = deps.upgradeWebSocket(context.req.raw, options);
  const send = (message: unknown) => sendText(JSON.stringify(message));

  function sendText(text: string): void {
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(text);
    if (socket.bufferedAmount > MAX_UNSENT_BYTES) {
      client.end("too-slow", "Too much was left unread; connect again and read the lists.");
    }
  }

  const client: LiveClient = {
    deliver: (events) => sendText(`{"type":"events","events":[${events.map(({ text }) => text).join()}]}`),
    heartbeat: (at) => send({ type: "heartbeat", at }),
    end(why, reason) {
      connection?.close();
      socket.close(why === "stopping" ? GOING_AWAY : TRY_AGAIN_LATER, reason);
    },
  };
  const connection = hub.connect(client);

  socket.onopen = () => {
    if (connection === null) return socket.close(TRY_AGAIN_LATER, "Too many live connections.");
    connection.subscribe("query", filter);
    send({ type: "subscribed", id: "query" });
  };
  socket.onclose = () => connection?.close();
  // What follows is always a close, which says all that can be done about it.
  socket.onerror = () => {};
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string") socket.close(UNSUPPORTED_DATA, "Messages are JSON texts.");
    else if (data.length > MAX_MESSAGE_LENGTH) {
      socket.close(MESSAGE_TOO_BIG, `A message has at most ${MAX_MESSAGE_LENGTH} characters.`);
    } else void answerMessage(data);
  };

  async function answerMessage(text: string): Promise<void> {
    let id: string | null = null;
    try {
      const message = readMessage(text);
      ({ id } = message);
      if (message.type === "subscribe") {
        await checkExists(deps, message);
        if (connection?.subscribe(message.id, message) !== true) {
          send({
            type: "refused",
            id,
            code: "too_many_subscriptions",
            detail: `At most ${MAX_SUBSCRIPTIONS}.`,
          });
          return;
        }
      } else connection?.unsubscribe(message.id);
      send({ type: `${message.type}d`, id });
    } catch (error) {
      if (!(error instanceof ApiProblem)) deps.log.error(`Cannot answer a live message: ${error}`);
      const { code, detail, parts } = error instanceof ApiProblem
        ? error
        : problem("internal_error", "Please try again.");
      send({
        type: "refused",
        id,
        code,
        detail,
        ...(parts.errors === undefined ? {} : { errors: parts.errors }),
      });
    }
  }

  return response;
}

function readMessage(text: string): z.output<typeof clientMessage> {
  try {
    const value = parseStrictJson(text, MAX_MESSAGE_ITEMS);
    const answer = clientMessage.safeParse(value);
    if (answer.success) return answer.data;
    throw invalidBody(fieldErrors(answer.error.issues, { schema: clientMessage, value }));
  } catch (error) {
    if (error instanceof JsonFault) {
      throw problem("json_invalid", `The message is refused: ${error.message}.`);
    }
    throw error;
  }
}
