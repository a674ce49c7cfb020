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
