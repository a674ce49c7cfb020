/**
 * A process that answers like an API instance as far as a load balancer can tell: started by tests of nginx, so that
 * it can be killed. Prints its port, then a line for each request.
 *
 *   /                 says which instance answers, and shows the headers that arrived
 *   /hang             never answers, on the instance that was started with "hang"
 *   /api/v1/live      WebSocket: says which instance, then sends back what comes; else server-sent events
 *   /next             lets each open stream of events send one more
 */
const [name = "", mode = ""] = Deno.args;
const streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
const encoder = new TextEncoder();

function live(request: Request): Response {
  if (request.headers.get("upgrade") === "websocket") {
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "milvaion.v1" });
    socket.onopen = () => socket.send(name);
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  }
  let mine: ReadableStreamDefaultController<Uint8Array> | null = null;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      mine = controller;
      streams.add(controller);
      controller.enqueue(encoder.encode(`data: ${name}\n\n`));
    },
    cancel: () => void (mine !== null && streams.delete(mine)),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  console.log(`${request.method} ${pathname}`);
  if (pathname === "/api/v1/live") return live(request);
  if (pathname === "/next") {
    for (const stream of streams) stream.enqueue(encoder.encode("data: next\n\n"));
  }
  if (pathname === "/hang" && mode === "hang") await new Promise(() => {});
  const { byteLength } = await request.arrayBuffer();
  return Response.json({ name, byteLength, headers: Object.fromEntries(request.headers) });
}

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`port ${port}`),
}, answer);
