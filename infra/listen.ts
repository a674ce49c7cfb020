/** Opening the port: a port in use is an error that proposes another. */

export type RequestHandler = (
  request: Request,
  info: Deno.ServeHandlerInfo<Deno.NetAddr>,
) => Response | Promise<Response>;

export type Listened =
  | { readonly ok: true; readonly server: Deno.HttpServer<Deno.NetAddr>; readonly port: number }
  /** `message` is one sentence, `hint` the next step. */
  | { readonly ok: false; readonly message: string; readonly hint: string };

/** Serves on the address. `onError` must not throw. */
export function listen(
  options: { readonly host: string; readonly port: number },
  handler: RequestHandler,
): Listened {
  const { host, port } = options;
  try {
    const server = Deno.serve({ hostname: host, port, onListen: () => {} }, handler);
    return { ok: true, server, port: server.addr.port };
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      const free = freePortAfter(host, port);
      return {
        ok: false,
        message: `Cannot listen on ${host}:${port}: the port is in use`,
        hint: free === null
          ? "Choose another with --port, or PORT in the environment; 0 takes any free one."
          : `Port ${free} is free: try --port ${free}, or PORT in the environment.`,
      };
    }
    return {
      ok: false,
      message: `Cannot listen on ${host}:${port}: ${(error as Error).message}`,
      hint: "Choose another address with --host, or another port with --port.",
    };
  }
}

/** What to type to get there. */
export function httpUrl(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** A port that is open before there is anything behind it. */
export interface OpenDoor {
  readonly ok: true;
  readonly port: number;
  /** Names the server that is waited for, or null. */
  waitsFor(what: string | null): void;
  /** From now on this answers. */
  answerWith(handler: RequestHandler): void;
  close(): Promise<void>;
}

/** Listens at once; until there is a handler, `starting` answers. */
export function openDoor(
  { Host: host, Port: port }: { readonly Host: string; readonly Port: number },
  starting: (request: Request, waitingFor: string | null) => Response,
): OpenDoor | Extract<Listened, { ok: false }> {
  let waitingFor: string | null = null;
  let answer: RequestHandler = (request) => starting(request, waitingFor);
  const listened = listen({ host, port }, (request, info) => answer(request, info));
  if (!listened.ok) return listened;
  return {
    ok: true,
    port: listened.port,
    waitsFor: (what) => waitingFor = what,
    answerWith: (handler) => answer = handler,
    close: () => listened.server.shutdown(),
  };
}

/** The next port that can be opened now, null when none near can. */
function freePortAfter(hostname: string, port: number): number | null {
  for (let candidate = port + 1; candidate <= Math.min(port + 100, 65_535); candidate += 1) {
    try {
      Deno.listen({ hostname, port: candidate }).close();
      return candidate;
    } catch {
      // in use as well
    }
  }
  return null;
}
