/**
 * Named locks with a time to live: who tries to lead. A lease is for efficiency; correctness is the epoch in the
 * store. Embedded: the data folder's lock is the lock. Cluster: SET NX PX in Redis.
 */
export interface Leases {
  /** Takes the lease when it is free or already this owner's. Times in milliseconds. */
  acquire(name: string, owner: string, ttlMs: number): Promise<boolean>;
  /** Extends the lease by compare-and-extend; false when it is not this owner's (any more). */
  renew(name: string, owner: string, ttlMs: number): Promise<boolean>;
  /** Gives the lease back by compare-and-delete; another owner's is left alone. */
  release(name: string, owner: string): Promise<void>;
  /** Who holds it, or null. */
  holder(name: string): Promise<string | null>;
}
