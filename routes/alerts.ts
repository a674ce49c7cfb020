/** Alerts of the watchdogs. */
import { z } from "zod";
import { type Alert, ALERT_KINDS, ALERT_SEVERITIES } from "../actors/domain/alert.ts";
import { ENDED_ALERTS_KEPT } from "../actors/ports/alerts.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { evidenceView, viewEvidence } from "./explanation_view.ts";
import { iso, isoOrNull, momentView } from "./fields.ts";
import { listView } from "./lists.ts";

const alertView = z.strictObject({
  id: z.uuid(),
  kind: z.enum(ALERT_KINDS),
  severity: z.enum(ALERT_SEVERITIES),
  sentence: z.string(),
  evidence: z.array(evidenceView).describe("What it was found by; not all of it when there is much"),
  raisedAt: momentView,
  raisedBy: z.string().describe("The instance that was first to find it"),
  seenAt: momentView.describe("When it was last found to be so"),
  endedAt: momentView.nullable().describe("Null while it is open"),
}).meta({ id: "Alert" });

/** The endpoint of alerts. */
export function alertsEndpoint({ store }: ApiDeps): Endpoint {
  return endpoint({
    method: "GET",
    path: "/api/v1/alerts",
    tag: "workers",
    summary: "List alerts: those that are open, then those that ended last",
    description: `Of each kind one is open at most; the last ${ENDED_ALERTS_KEPT} that ended are kept.`,
    answers: { 200: { description: "All of them, on one page", schema: listView(alertView) } },
    problems: [],
    async handle() {
      const alerts = await store.alerts.list(ENDED_ALERTS_KEPT + ALERT_KINDS.length);
      return { status: 200, body: { items: alerts.map(viewAlert), nextCursor: null } };
    },
  });
}

function viewAlert(alert: Alert): z.output<typeof alertView> {
  return {
    ...alert,
    evidence: alert.evidence.map(viewEvidence),
    raisedAt: iso(alert.raisedAt),
    seenAt: iso(alert.seenAt),
    endedAt: isoOrNull(alert.endedAt),
  };
}
