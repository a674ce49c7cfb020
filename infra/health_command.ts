/** `milvaion health`: asks the instance on this machine whether it is alive; for container health checks. */
import type { Config } from "./config_schema.ts";

export interface HealthAnswer {
  readonly isAlive: boolean;
  /** A sentence for people. */
  readonly message: string;
}

const DEADLINE_MS = 3000;

/** Asks the worker's health port when there is one, else the API's. */
export async function askHealth(config: Config): Promise<HealthAnswer> {
  const { Worker, MilvaionConfig: { Api } } = config;
  const port = Worker.HealthPort === 0 ? Api.Port : Worker.HealthPort;
  const url = `http://127.0.0.1:${port}/livez`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
    await response.body?.cancel();
    return { isAlive: response.ok, message: `${url} answers ${response.status}` };
  } catch (error) {
    return { isAlive: false, message: `${url} does not answer: ${(error as Error).message}` };
  }
}
