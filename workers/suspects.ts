/**
 * Who took a host down? When one attempt ran in it, that one. When several did, each of them is handed back
 * uncounted, and runs alone in a host of its own next time: so the guilty one is found for certain, and no innocent
 * attempt is ever counted. A job found guilty runs alone until one of its attempts survives.
 */
import type { AttemptRequest } from "../actors/ports/pool.ts";

/** Older suspicions are forgotten: the worst that follows is one more round of handing back. */
const KEPT_AT_MOST = 10_000;

export class Suspects {
  readonly #occurrences = new Set<string>();
  readonly #jobs = new Set<string>();

  mustRunAlone(request: AttemptRequest): boolean {
    if (this.#occurrences.size === 0 && this.#jobs.size === 0) return false;
    return this.#occurrences.has(request.occurrenceId) || this.#jobs.has(request.jobId);
  }

  /** It ran in a host that died, beside others. */
  suspect(request: AttemptRequest): void {
    remember(this.#occurrences, request.occurrenceId);
  }

  /** It took its host down. */
  convict(request: AttemptRequest): void {
    this.#occurrences.delete(request.occurrenceId);
    remember(this.#jobs, request.jobId);
  }

  /** It ran alone and its host is still there. */
  acquit(request: AttemptRequest): void {
    this.#occurrences.delete(request.occurrenceId);
    this.#jobs.delete(request.jobId);
  }
}

function remember(ids: Set<string>, id: string): void {
  ids.delete(id);
  ids.add(id);
  if (ids.size <= KEPT_AT_MOST) return;
  const [oldest] = ids;
  if (oldest !== undefined) ids.delete(oldest);
}
