/**
 * Whether an API instance on this machine answers: exit 0 when it does, 1 when it does not. What a container is asked
 * with; it imports nothing, so that asking costs little. The port comes from PORT, the path is the argument.
 */
const DEADLINE_MS = 4000;

const url = `http://127.0.0.1:${Deno.env.get("PORT") ?? "5000"}${Deno.args[0] ?? "/livez"}`;
try {
  const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`status ${response.status}`);
} catch (error) {
  console.error(`Cannot ask ${url}: ${(error as Error).message}`);
  Deno.exit(1);
}
