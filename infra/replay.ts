/** One replay of a failed occurrence, as both stores carry it out. */
import type { JobMessage } from "../actors/domain/message.ts";
import type { TypeDefaults } from "../actors/domain/terms.ts";
import type { ReplayRefusal } from "../actors/ports/failed_occurrences.ts";

export interface Replay {
  /** The failed occurrence's id. */
  readonly id: string;
  /** The new one's. */
  readonly occurrenceId: string;
  readonly at: number;
  /** JSON text; null takes the failed one's. */
  readonly jobData: string | null;
  readonly force: boolean;
  readonly reason: string | null;
  readonly by: string;
  readonly actionId: string | null;
  readonly defaultsOf: (jobType: string) => TypeDefaults;
}

export type Replayed =
  | {
    readonly ok: true;
    readonly jobId: string;
    readonly jobType: string;
    /** Null while it waits for the run before it. */
    readonly message: JobMessage | null;
  }
  | ({ readonly ok: false } & ReplayRefusal);
