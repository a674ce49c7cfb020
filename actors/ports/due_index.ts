/**
 * The due index: which jobs are due next. Holds nothing that cannot be rebuilt from the store; an entry too many
 * costs one look at the store, a missing one waits for the slow poll underneath.
 */
export interface DueEntry {
  readonly jobId: string;
  /** Epoch milliseconds. */
  readonly dueAt: number;
}

export interface DueIndex {
  /** Sets the due time of each job, replacing what was there. */
  put(entries: readonly DueEntry[]): Promise<void>;
  remove(jobIds: readonly string[]): Promise<void>;
  /** Entries due at or before `now`, earliest first, at most `limit`; they stay until put or removed. */
  due(now: number, limit: number): Promise<readonly DueEntry[]>;
  /** The earliest due time in the index, or null when it is empty. */
  nextAt(): Promise<number | null>;
  /** Number of entries. */
  size(): Promise<number>;
  /** Empties the index, before it is built anew. Nobody has built it then. */
  clear(): Promise<void>;
  /** Says that the index is complete: every due time of the store has been put. `builder` names who built it. */
  markBuilt(builder: string): Promise<void>;
  /** Who said last that the index is complete; null when nobody has since it was new, emptied or lost. */
  builtBy(): Promise<string | null>;
}
