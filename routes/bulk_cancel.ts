/** Cancelling many occurrences: those of some ids, or all that match a filter, as a bulk action. */
import { z } from "zod";
import { MAX_BULK_ITEMS } from "../actors/domain/bulk_action.ts";
import type { BulkSelection } from "../actors/ports/bulk_actions.ts";
import {
  bulkActionView,
  bulkFields,
  createBulk,
  distinct,
  notEmpty,
  oneSelection,
  previewView,
} from "./bulk_view.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { choiceField, fromBeforeTo, idField, instantField } from "./fields.ts";
import { withoutUndefined } from "./lists.ts";
import { occurrenceView, viewOccurrence } from "./occurrences.ts";

/** Statuses of what can be cancelled. */
const ACTIVE = ["Queued", "Running", "Unknown"] as const;

const filters = {
  jobId: idField.optional(),
  jobType: z.string().min(1).max(200).optional(),
  statuses: z.array(activeField()).min(1).max(ACTIVE.length).optional().describe(
    "Of Queued, Running and Unknown; all of them when absent",
  ),
  from: instantField.optional().describe("Due at or after"),
  to: instantField.optional().describe("Due before"),
};

const cancelManyBody = z.strictObject({
  ...bulkFields,
  filter: z.strictObject(filters).check(
    notEmpty(Object.keys(filters), { statuses: ACTIVE.length }),
    fromBeforeTo,
  )
    .optional(),
}).check(oneSelection);

/** The endpoint that cancels many. */
export function bulkCancelEndpoint(deps: ApiDeps): Endpoint {
  const { store } = deps;
  return endpoint({
    method: "POST",
    path: "/api/v1/occurrences/cancel",
    tag: "occurrences",
    summary: "Cancel a selection of occurrences, or all that match a filter",
    description:
      "With dryRun nothing is done: it answers an exact count and the oldest of them. Otherwise a bulk " +
      "action is made over exactly those that are queued or running and match now; its progress is at " +
      "/api/v1/bulk-actions/{id}. Queued ones end at once, running ones are asked to stop.",
    body: cancelManyBody,
    headers: {
      "Idempotency-Key":
        "Makes the request safe to repeat for 24 hours: the same key gives the first answer again",
    },
    answers: {
      200: { description: "The dry run", schema: previewView(occurrenceView).meta({ id: "CancelPreview" }) },
      202: { description: "The bulk action, which the leader goes on with", schema: bulkActionView },
    },
    problems: [
      "json_invalid",
      "state_conflict",
      "idempotency_mismatch",
      "idempotency_key_invalid",
      "validation_failed",
    ],
    async handle(call) {
      const { body } = call;
      const selection = selectionOf(body);
      if (body.dryRun !== true) return await createBulk(deps, call, selection);
      const { count, sample } = await store.bulk.preview(selection);
      const found = await Promise.all(sample.map((id) => store.history.occurrence(id)));
      const shown = found.flatMap((one) => one === null ? [] : viewOccurrence(one.occurrence));
      return { status: 200, body: { count, most: MAX_BULK_ITEMS, sample: shown } };
    },
  });
}

function selectionOf({ ids, filter }: z.output<typeof cancelManyBody>): BulkSelection {
  if (ids !== undefined) return { kind: "cancel", ids: distinct(ids) };
  return { kind: "cancel", filter: withoutUndefined(filter ?? {}) };
}

/** By name, or by the number that the status has everywhere. */
function activeField() {
  const numbers = { 0: "Queued", 1: "Running", 6: "Unknown" } as const;
  return z.preprocess(
    (value) => typeof value === "number" ? numbers[value as keyof typeof numbers] ?? String(value) : value,
    choiceField(ACTIVE),
  );
}
