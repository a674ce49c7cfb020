/**
 * Whether the API instance or the worker in this container answers: exit 0 when it does, 1 when it does not. The port
 * comes from PORT or a worker's HEALTH_PORT, the path is the argument: /livez, or /readyz. `main.ts health` asks the
 * same with the program's whole configuration; this imports nothing, so that asking each 10 s costs a fifth of it.
 */
const DEADLINE_MS = 4000;

const port = Deno.env.get("HEALTH_PORT") ?? Deno.env.get("PORT") ?? "5000";
const url = `http://127.0.0.1:${port}${Deno.args[0] ?? "/livez"}`;
try {
  const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`status ${response.status}`);
} catch (error) {
  console.error(`Cannot ask ${url}: ${(error as Error).message}`);
  Deno.exit(1);
}
