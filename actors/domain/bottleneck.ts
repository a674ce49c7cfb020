/**
 * The bottleneck advisor: the symptom table of the scaling guide as rules over live evidence. A rule says nothing
 * without evidence, and never goes by one look alone.
 */
import { apiRules } from "./bottleneck_api.ts";
import type { Evidence } from "./bottleneck_evidence.ts";
import { type Bottleneck, SEVERITIES } from "./bottleneck_finding.ts";
import { processorRules } from "./bottleneck_processors.ts";
import { serverRules } from "./bottleneck_servers.ts";
import { workerRules } from "./bottleneck_workers.ts";

/** Before so many looks nothing is said: a start is no load. */
export const FEWEST_LOOKS = 3;

const RULES: readonly ((evidence: Evidence) => readonly Bottleneck[])[] = [
  apiRules,
  processorRules,
  serverRules,
  workerRules,
];

/** What is too much, the worst first. */
export function findBottlenecks(evidence: Evidence): readonly Bottleneck[] {
  if (evidence.looks < FEWEST_LOOKS) return [];
  return RULES.flatMap((rule) => rule(evidence))
    .sort((a, b) => SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity));
}
