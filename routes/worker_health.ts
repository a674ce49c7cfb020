/**
 * What a worker without an API answers on its health port, which only this machine can reach: whether it is alive,
 * whether it can take jobs, and its figures.
 */
import type { MetricsPage } from "../actors/ports/meter.ts";
import type { Pool } from "../actors/ports/pool.ts";

export interface WorkerHealthDeps {
  readonly page: MetricsPage;
  readonly pool: Pick<Pool, "figures">;
  /** How many reports wait on this worker's disk. */
  readonly reportsHeldBack: () => number;
  /** The servers this worker stands on. */
  readonly servers: () => readonly { readonly name: string; readonly isConnected: boolean }[];
}

export function workerHealth(deps: WorkerHealthDeps): (request: Request) => Promise<Response> {
  return async (request) => {
    switch (new URL(request.url).pathname) {
      case "/livez":
        return Response.json({ status: "ok" });
      case "/readyz":
        return ready();
      case "/metrics":
        return await metrics();
      default:
        return Response.json({ detail: "Here are /livez, /readyz and /metrics." }, { status: 404 });
    }
  };

  function ready(): Response {
    const away = deps.servers().filter((server) => !server.isConnected).map(({ name }) => name);
    if (away.length === 0) return Response.json({ status: "ok" });
    return Response.json({ status: "not ready", detail: `Out of reach: ${away.join(", ")}` }, {
      status: 503,
    });
  }

  async function metrics(): Promise<Response> {
    const { hosts, threads, busy } = deps.pool.figures();
    const one = (name: string, help: string, value: number) => ({ name, help, samples: [{ value }] });
    const text = await deps.page.render([
      one("executor_hosts", "Executor hosts that run", hosts),
      one("web_workers", "Web Workers that run", threads),
      one("attempts_running", "Attempts that run in this process", busy),
      one("reports_held_back", "Reports that wait on this worker's disk", deps.reportsHeldBack()),
      {
        name: "server_connected",
        help: "1 while the server can be reached",
        samples: deps.servers().map(({ name, isConnected }) => ({
          value: isConnected ? 1 : 0,
          labels: { server: name },
        })),
      },
    ]);
    return new Response(text, { headers: { "content-type": deps.page.contentType } });
  }
}
