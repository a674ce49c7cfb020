/** A fault planted in the system itself, between the actors and their ports: the simulation must find it. */
import type { Pool } from "../../actors/ports/pool.ts";
import type { ApiPorts } from "../../actors/supervisor.ts";

export interface Mutant {
  readonly what: string;
  readonly ports?: (ports: ApiPorts) => ApiPorts;
  readonly pool?: (pool: Pool) => Pool;
}
