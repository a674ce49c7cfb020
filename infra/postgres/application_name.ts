/** How connections say in the server whose they are, and how many a process has. */

/** Begins the name of an API instance's connections; its id follows. */
export const API_APPLICATION = "milvaion api";
export const WORKER_APPLICATION = "milvaion worker";

/** Most connections of a worker that claims in the database: the scaling guide's "workers × 2". */
export const CONNECTIONS_A_WORKER = 2;

/** PostgreSQL cuts names after this many bytes; the end of an instance's id is what is unique. */
const LONGEST = 63;

export function applicationName(kind: string, instanceId: string): string {
  return `${kind} ${instanceId.slice(-(LONGEST - kind.length - 1))}`;
}
