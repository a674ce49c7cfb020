/** What requests for bulk actions have in common, how their refusals are said, and how they stand in answers. */
import { z } from "zod";
import {
  BULK_KINDS,
  BULK_STATES,
  type BulkAction,
  type CountRefusal,
  DEFAULT_BULK_RATE,
  MAX_BULK_ITEMS,
  MAX_BULK_RATE,
  MAX_UNCOUNTED,
} from "../actors/domain/bulk_action.ts";
import { announceBulk } from "../actors/announce.ts";
import type { BulkCreateAnswer, BulkSelection } from "../actors/ports/bulk_actions.ts";
import type { ApiDeps } from "./deps.ts";
import type { Answer, Call } from "./endpoint.ts";
import { type ApiProblem, invalidBody, problem } from "./errors.ts";
import { idField, iso, isoOrNull, jsonView, momentView, reasonField, refuse } from "./fields.ts";
import { sha256 } from "./guard.ts";
import { readKey } from "./triggers.ts";

/** How many things one request may name by their ids. */
const MAX_IDS = 1000;

/** A bulk action in an answer. */
export const bulkActionView = z.strictObject({
  id: z.uuid(),
  kind: z.enum(BULK_KINDS),
  state: z.enum(BULK_STATES).describe(
    "stopped: by itself, because an error that was replayed came back; completed: every item has its end",
  ),
  stateReason: z.string().nullable(),
  selection: jsonView.describe("The filter that was asked for, or how many ids"),
  total: z.int().describe("Items, exactly; they were written down when the action was made"),
  progress: z.strictObject({
    done: z.int().describe("Items that have their end: succeeded, failed and skipped ones"),
    succeeded: z.int(),
    failed: z.int().describe("Replays that failed again"),
    skipped: z.int(),
    on: z.int().describe("Begun, and not ended yet"),
    remaining: z.int().describe("Not begun"),
  }),
  ratePerSecond: z.number(),
  canary: z.boolean(),
  force: z.boolean(),
  reason: z.string().nullable(),
  by: z.string(),
  createdAt: momentView,
  changedAt: momentView,
  endedAt: momentView.nullable(),
}).meta({ id: "BulkAction" });

/** The answer to a dry run. */
export function previewView<T extends z.ZodType>(item: T) {
  return z.strictObject({
    count: z.int().describe("How many match now, exactly"),
    most: z.int().describe("How many one action takes"),
    sample: z.array(item).describe("The oldest of them"),
  });
}

/** Fields of every request for a bulk action. */
export const bulkFields = {
  ids: z.array(idField).min(1).max(MAX_IDS).optional().describe("Instead of a filter"),
  dryRun: z.boolean().optional().describe("Only count what matches and show the first of it"),
  expectedCount: z.int().min(1).optional().describe(
    `Refuse when another number matches than the dry run counted. Needed for a filter that more than ${MAX_UNCOUNTED} ` +
      "match",
  ),
  ratePerSecond: z.number().min(0.1).max(MAX_BULK_RATE).optional().describe(
    `Items begun a second at most; ${DEFAULT_BULK_RATE} when absent`,
  ),
  reason: reasonField.optional(),
};

/** No run of any installation was due, or failed, before this moment: the first version came years later. */
const BEFORE_ALL_RUNS = Date.UTC(2020, 0, 1);
/** Nor is any due after this one. */
const AFTER_ALL_RUNS = Date.UTC(2100, 0, 1);

/**
 * Refuses a filter that narrows nothing: it would mean everything there is. `wholes`: of how many values a list names all
 * there are. A `from` long before the first run, and a `to` long after the last, leave nothing out either.
 */
export function notEmpty(narrowing: readonly string[], wholes: Readonly<Record<string, number>>) {
  return (context: z.core.ParsePayload) => {
    const given = context.value as Record<string, unknown>;
    // A name that is misspelt is told as such.
    if (context.issues.length > 0) return;
    const narrows = (name: string): boolean => {
      const value = given[name];
      if (name === "from") return Number(value) > BEFORE_ALL_RUNS;
      if (name === "to") return Number(value) < AFTER_ALL_RUNS;
      return value !== undefined && !(Array.isArray(value) && new Set(value).size === wholes[name]);
    };
    if (narrowing.some(narrows)) return;
    refuse(
      context,
      "filter_empty",
      `must name at least one of ${
        narrowing.join(", ")
      } so that it leaves something out: this one would mean everything there is. Give a jobId, a jobType, or a ` +
        "from or to within the time that is meant.",
      narrowing,
    );
  };
}

/** Refuses a request that names neither ids nor a filter, or both. */
export function oneSelection(context: z.core.ParsePayload): void {
  const { ids, filter } = context.value as { readonly ids?: unknown; readonly filter?: unknown };
  if (ids === undefined && filter === undefined) {
    refuse(context, "selection_missing", "must name what it is about: give filter or ids.", [
      "filter",
      "ids",
    ]);
  } else if (ids !== undefined && filter !== undefined) {
    refuse(context, "selection_doubled", "must not hold both filter and ids: give one of them.", [
      "filter",
      "ids",
    ]);
  }
}

/** The ids as they came in, each once. */
export function distinct(ids: readonly string[]): readonly string[] {
  return [...new Set(ids)];
}

interface BulkBody {
  readonly expectedCount?: number | undefined;
  readonly ratePerSecond?: number | undefined;
  readonly canary?: boolean | undefined;
  readonly force?: boolean | undefined;
  readonly reason?: string | undefined;
  readonly ids?: readonly string[] | undefined;
}

/** Makes the action and answers with it. Throws ApiProblem. */
export async function createBulk(
  deps: ApiDeps,
  call: Call<unknown, BulkBody>,
  selection: BulkSelection,
): Promise<Answer> {
  const { store, random, clock, log } = deps;
  const { body, bodyText, by, context } = call;
  const key = readKey(context.req.header("idempotency-key"));
  const answer = await store.bulk.create({
    id: random.uuid(),
    selection,
    ratePerSecond: body.ratePerSecond ?? DEFAULT_BULK_RATE,
    canary: body.canary ?? false,
    force: body.force ?? false,
    reason: body.reason ?? null,
    by,
    expectedCount: body.expectedCount ?? null,
    at: clock.now(),
    idempotency: key === null ? null : { key, requestHash: await sha256(`${context.req.path}\n${bodyText}`) },
  });
  if (!answer.ok) throw refusal(answer, body);
  const { action, replayed } = answer;
  if (!replayed) {
    log.info("Bulk action asked for", {
      actionId: action.id,
      kind: action.kind,
      total: action.total,
      by,
    });
    announceBulk(deps, action);
  }
  const headers = { location: `/api/v1/bulk-actions/${action.id}` };
  return { status: 202, body: viewBulkAction(action), headers };
}

function refusal(
  answer: Extract<BulkCreateAnswer, { ok: false }>,
  { ids = [], expectedCount }: Pick<BulkBody, "ids" | "expectedCount">,
): ApiProblem {
  switch (answer.reason) {
    case "idempotency-mismatch":
      return problem("idempotency_mismatch", "This key came with another request before. Take a new one.");
    case "unknown":
      return invalidBody(answer.ids.map((id) => {
        const index = ids.indexOf(id);
        const message = `ids.${index} names nothing that this can be done to: ${id}.`;
        return { field: `ids.${index}`, pointer: `/ids/${index}`, code: "not_found", message, given: id };
      }));
    default:
      return countProblem(answer, expectedCount ?? null);
  }
}

/** Says why nothing is done to so many; `expectedCount` is what was given, null when nothing was. */
export function countProblem(
  { reason, count }: { readonly reason: CountRefusal; readonly count: number },
  expectedCount: number | null,
): ApiProblem {
  switch (reason) {
    case "none":
      return problem("state_conflict", "Nothing matches the filter, so there is nothing to do.", {
        members: { count: 0 },
      });
    case "unexpected":
      return problem(
        "state_conflict",
        `${count} match now, and expectedCount says ${expectedCount}. Look again with dryRun: true.`,
        { members: { count } },
      );
    case "uncounted":
      return problem(
        "state_conflict",
        `${count} match, more than ${MAX_UNCOUNTED}: say that so many are meant, with expectedCount: ` +
          `${count} (milvaion: --expect ${count}). dryRun: true shows the first of them.`,
        { members: { state: "expected-count-missing", count } },
      );
    case "too-many": {
      const message =
        `filter matches more than ${MAX_BULK_ITEMS}, the most of one action. Narrow it, e.g. by ` +
        "from and to.";
      return invalidBody([{ field: "filter", pointer: "/filter", code: "too_many", message }]);
    }
  }
}

/** Writes an action. */
export function viewBulkAction(action: BulkAction): z.output<typeof bulkActionView> {
  const { waiting, on, succeeded, failed, skipped } = action.counts;
  return {
    id: action.id,
    kind: action.kind,
    state: action.state,
    stateReason: action.stateReason,
    selection: viewSelection(action.selection),
    total: action.total,
    progress: { done: succeeded + failed + skipped, succeeded, failed, skipped, on, remaining: waiting },
    ratePerSecond: action.ratePerSecond,
    canary: action.canary,
    force: action.force,
    reason: action.reason,
    by: action.by,
    createdAt: iso(action.createdAt),
    changedAt: iso(action.changedAt),
    endedAt: isoOrNull(action.endedAt),
  };
}

function viewSelection(text: string): unknown {
  return JSON.parse(
    text,
    (key, value) => (key === "from" || key === "to") && typeof value === "number" ? iso(value) : value,
  );
}
