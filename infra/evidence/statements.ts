/** Which statements took the server's time between the first look and the last. */
import type { SlowStatement } from "../../actors/domain/bottleneck_evidence.ts";
import type { Look, ServerLoads } from "./look.ts";

const STATEMENTS_NAMED = 10;
/** A statement that takes less is not slow, however often it runs. */
const SLOW_MS = 5;

/** The costliest first; null where the server does not count statements. Never rejects. */
export async function costlyBetween(
  looks: readonly Look[],
  texts: ServerLoads["statementTexts"],
): Promise<readonly SlowStatement[] | null> {
  const counted = looks.filter(({ statementTotals }) => statementTotals !== null);
  const [first, last] = [counted[0], counted.at(-1)];
  if (first === undefined || last === undefined) return null;
  const seconds = (last.at - first.at) / 1000;
  if (seconds <= 0) return [];
  const before = new Map(first.statementTotals?.map((one) => [one.id, one]));
  const costly = (last.statementTotals ?? []).flatMap(({ id, calls, totalMs }) => {
    const known = before.get(id);
    // Counters that went back were begun anew.
    const since = known !== undefined && known.calls <= calls ? known : { calls: 0, totalMs: 0 };
    const ended = calls - since.calls;
    const tookMs = totalMs - since.totalMs;
    return ended > 0 && tookMs / ended >= SLOW_MS ? [{ id, calls: ended, tookMs }] : [];
  }).sort((a, b) => b.tookMs - a.tookMs).slice(0, STATEMENTS_NAMED);
  if (costly.length === 0) return [];
  const named = await texts(costly.map(({ id }) => id)).catch(() => null);
  return named === null ? [] : costly.map(({ id, calls, tookMs }) => ({
    text: named.get(id) ?? `statement ${id}`,
    calls,
    meanMs: tookMs / calls,
    share: tookMs / 1000 / seconds,
  }));
}
