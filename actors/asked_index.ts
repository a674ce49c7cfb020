import type { Decision } from "./domain/plan.ts";
import type { DueEntry, DueIndex } from "./ports/due_index.ts";
import type { Log } from "./ports/log.ts";

/** away: it could not be asked. incomplete: it was lost or is new, and has to be built from the store. */
export type IndexState = "unchecked" | "complete" | "incomplete" | "away";

/** The due index during one pass. It may fail, and is then not asked again: the slow poll lies underneath. */
export class AskedIndex {
  state: IndexState = "unchecked";

  constructor(private readonly deps: { readonly dueIndex: DueIndex; readonly log: Log }) {}

  async checkBuilder(builder: string): Promise<void> {
    const isWhole = await this.#ask((index) => index.builtBy(), builder) === builder;
    if (this.state !== "away") this.state = isWhole ? "complete" : "incomplete";
  }

  due(now: number, limit: number): Promise<readonly DueEntry[]> {
    return this.#ask((index) => index.due(now, limit), []);
  }

  nextAt(): Promise<number | null> {
    return this.#ask((index) => index.nextAt(), null);
  }

  put(entries: readonly DueEntry[]): Promise<void> {
    return entries.length === 0 ? Promise.resolve() : this.#ask((index) => index.put(entries), undefined);
  }

  remove(jobIds: readonly string[]): Promise<void> {
    return jobIds.length === 0 ? Promise.resolve() : this.#ask((index) => index.remove(jobIds), undefined);
  }

  async move(decided: readonly Decision[]): Promise<void> {
    const entries: DueEntry[] = [];
    const ended: string[] = [];
    for (const { jobId, nextDueAt } of decided) {
      if (nextDueAt === null) ended.push(jobId);
      else entries.push({ jobId, dueAt: nextDueAt });
    }
    await this.put(entries);
    await this.remove(ended);
  }

  async #ask<T>(ask: (index: DueIndex) => Promise<T>, otherwise: T): Promise<T> {
    if (this.state === "away") return otherwise;
    try {
      return await ask(this.deps.dueIndex);
    } catch (error) {
      this.state = "away";
      this.deps.log.warn(
        "Cannot use the due index, working from the store: " + (error as Error).message,
      );
      return otherwise;
    }
  }
}
