/** Rules about the API instance that was asked. */
import type { ApiEvidence, Evidence } from "./bottleneck_evidence.ts";
import { type Bottleneck, percent, proof, rounded, severityOf } from "./bottleneck_finding.ts";

/** An event loop has one processor; above 70 % of it what comes in bursts waits. */
export const API_CPU = { warning: 0.7, critical: 0.9 };
/** So many reads a second keep a processor busy, however quick each of them is. */
export const POLLS_PER_SECOND = 20;
/** Fewer do when they take long: from so many in progress, on average, a list is being read half of the time. */
export const POLLS_IN_PROGRESS = 0.5;
/** Part of the requests that read what live events would tell, from which on they are the cause. */
export const POLLS_SHARE = 0.5;
/** Timers that come 100 ms late make everything else as late: five times the budget of a scheduled run's lateness. */
export const EVENT_LOOP_DELAY_MS = { warning: 100, critical: 500 };
/** Probes of the event loop, ten a second, before their percentiles mean anything. */
const FEWEST_PROBES = 20;
const ROUTES_NAMED = 3;

export function apiRules({ api }: Evidence): readonly Bottleneck[] {
  return api === null ? [] : [...highCpu(api), ...lateEventLoop(api)];
}

/** The guide: high API CPU ← too many dashboard polls → API replicas. */
function highCpu(api: ApiEvidence): readonly Bottleneck[] {
  const severity = severityOf(api.cpuShare, API_CPU);
  if (severity === null) return [];
  const polls = pollsOf(api, "perSecond");
  const inProgress = pollsOf(api, "inProgress");
  const arePolls = (polls >= POLLS_PER_SECOND || inProgress >= POLLS_IN_PROGRESS) &&
    polls >= api.requestsPerSecond * POLLS_SHARE;
  return [{
    code: "api-cpu",
    severity,
    place: api.instanceId,
    symptom: `High API CPU: this instance uses ${percent(api.cpuShare)} of a processor.`,
    proof: [
      proof("cpuShare", api.cpuShare, "processors", API_CPU.warning),
      proof("requestsPerSecond", api.requestsPerSecond, "1/s"),
      proof("pollsPerSecond", polls, "1/s", POLLS_PER_SECOND),
      proof("pollsInProgress", inProgress, "requests", POLLS_IN_PROGRESS),
      proof("liveClients", api.liveClients, "clients"),
      ...api.routes.slice(0, ROUTES_NAMED).map(({ route, perSecond }) => proof(route, perSecond, "1/s")),
    ],
    cause: arePolls
      ? `Too many polls: ${rounded(polls)} of ${
        rounded(api.requestsPerSecond)
      } requests a second read lists ` +
        `again and again, most of them ${api.routes.find((one) => one.isPoll)?.route}.`
      : "Work other than polls: requests that write, or what the leader and the tracker do in this process.",
    changes: [
      ...(arePolls
        ? ["Let clients listen instead of asking: /api/v1/live (WebSocket or SSE) tells each change once."]
        : []),
      "Add API replicas: kubectl -n milvaion scale deployment milvaion-api --replicas=3, or docker compose up -d " +
      "--scale milvaion-api=3.",
    ],
  }];
}

/** What reads as a dashboard does, and could listen to live events. */
function pollsOf({ routes }: ApiEvidence, figure: "perSecond" | "inProgress"): number {
  return routes.reduce((sum, route) => sum + (route.isPoll ? route[figure] : 0), 0);
}

function lateEventLoop(api: ApiEvidence): readonly Bottleneck[] {
  const { eventLoopDelay } = api;
  if (eventLoopDelay === null || eventLoopDelay.count < FEWEST_PROBES) return [];
  const severity = severityOf(eventLoopDelay.p99Ms, EVENT_LOOP_DELAY_MS);
  if (severity === null) return [];
  return [{
    code: "api-event-loop",
    severity,
    place: api.instanceId,
    symptom: `The event loop of this instance is late: 1 of 100 timers by ${
      rounded(eventLoopDelay.p99Ms)
    } ms or more.`,
    proof: [
      proof("eventLoopDelayP99", eventLoopDelay.p99Ms, "ms", EVENT_LOOP_DELAY_MS.warning),
      proof("cpuShare", api.cpuShare, "processors"),
    ],
    cause: api.cpuShare >= API_CPU.warning
      ? "This process has more to do than one processor does: requests, or the leader's and the tracker's work."
      : "The process did not get a processor when it wanted one: a limit in its container, or busy neighbours.",
    changes: [
      "Add API replicas: kubectl -n milvaion scale deployment milvaion-api --replicas=3.",
      'Give it a whole processor: resources.requests.cpu: "1" and no lower limits.cpu in ' +
      "infra/deploy/kubernetes; take other programs off the machine.",
    ],
  }];
}
