/** The due index, built anew from the store by a leader: after Redis has lost it, and once by each leader. */
import type { DueIndex } from "./ports/due_index.ts";
import type { JobStore } from "./ports/store.ts";

/** What building the index came to. */
export interface Built {
  readonly jobs: number;
  /** The index says that it is whole, as it was told. */
  readonly isKept: boolean;
}

const INDEX_PAGE = 5000;

/** What a leader says of the due index that it has built. */
export function indexBuilder(epoch: number): string {
  return `epoch ${epoch}`;
}

export async function buildIndex(
  { jobs: store, dueIndex }: { readonly jobs: Pick<JobStore, "dueEntries">; readonly dueIndex: DueIndex },
  builder: string,
  signal: AbortSignal,
): Promise<Built> {
  let after: string | null = null;
  let jobs = 0;
  do {
    const page = await store.dueEntries(INDEX_PAGE, after);
    await dueIndex.put(page.items);
    jobs += page.items.length;
    after = page.next;
  } while (after !== null && !signal.aborted);
  if (signal.aborted) return { jobs, isKept: false };
  await dueIndex.markBuilt(builder);
  return { jobs, isKept: await dueIndex.builtBy() === builder };
}
