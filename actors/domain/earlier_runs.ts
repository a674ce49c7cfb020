/** Runs of an occurrence that do not count: why one that ran once began long after its due time. */
import { type Evidence, evidence, momentText } from "./explanation.ts";
import type { Attempt } from "./occurrence.ts";

/** Of more, the newest are told. */
const SHOWN = 3;

/** What is said of them, as a sentence with a space before it, or nothing. */
export interface EarlierRuns {
  readonly told: string;
  readonly evidence: readonly Evidence[];
}

/** Tells of the attempts that were lost or handed back. */
export function earlierRuns(attempts: readonly Attempt[]): EarlierRuns {
  const uncounted = attempts.filter(({ outcome }) => outcome === "lost" || outcome === "handedBack");
  if (uncounted.length === 0) return { told: "", evidence: [] };
  const shown = uncounted.slice(-SHOWN);
  const rest = uncounted.length - shown.length;
  const runs = shown.map(({ instanceId, claimedAt, endedAt, outcome }) => {
    const how = outcome === "lost" ? "taken for lost" : "handed back";
    const until = endedAt === null ? "" : ` at ${momentText(endedAt)}`;
    return `on ${instanceId} since ${momentText(claimedAt)} (${how}${until})`;
  });
  return {
    told: ` Not counted as an attempt: its run ${runs.join(", ")}${rest > 0 ? `, and ${rest} before` : ""}.`,
    evidence: shown.map(({ instanceId }) => evidence("worker", instanceId)),
  };
}
