/** By what failed occurrences are found, in queries and in bodies. */
import { z } from "zod";
import { FAILURE_KINDS, type FailureKind } from "../actors/domain/failed_occurrence.ts";
import type { FailedFilter } from "../actors/ports/failed_occurrences.ts";
import { notEmpty } from "./bulk_view.ts";
import { choiceField, fromBeforeTo, idField, instantField, queryBoolean, refuse } from "./fields.ts";
import { withoutUndefined } from "./lists.ts";

/** One or several kinds, by name or number. */
const kindQuery = z.string().transform((text, context): readonly FailureKind[] => {
  const given = [...new Set(text.split(","))];
  const kinds = given.flatMap((one) =>
    FAILURE_KINDS.find((kind, index) => one === kind || one === `${index}`) ?? []
  );
  if (kinds.length === given.length) return kinds;
  return refuse(context, "choice_unknown", `must be of ${FAILURE_KINDS.join(", ")}.`, FAILURE_KINDS);
}).describe("One or several, separated by commas: failed, timed-out, suspect");

const fingerprintField = z.string().transform((text, context) =>
  /^[0-9a-f]{16}$/.test(text)
    ? text
    : refuse(context, "fingerprint_invalid", "has 16 hexadecimal digits, as lists show it.")
);

const filters = {
  jobId: idField.optional(),
  jobType: z.string().min(1).max(200).optional(),
  fingerprint: fingerprintField.optional(),
  from: instantField.optional().describe("Failed at or after"),
  to: instantField.optional().describe("Failed before"),
};

/** In a query. */
export const filterQuery = {
  ...filters,
  kind: kindQuery.optional(),
  resolved: queryBoolean.optional(),
};

/** In a body, where it must leave something out. */
export const filterBody = z.strictObject({
  ...filters,
  kinds: z.array(choiceField(FAILURE_KINDS)).min(1).max(FAILURE_KINDS.length).optional(),
  resolved: z.boolean().optional().describe("false when absent: what nobody has resolved"),
}).check(notEmpty([...Object.keys(filters), "kinds"], { kinds: FAILURE_KINDS.length }), fromBeforeTo);

/** A query as the store takes it. */
export function filterOfQuery(
  { kind, resolved, ...rest }: {
    readonly [K in keyof typeof filterQuery]?: z.output<(typeof filterQuery)[K]>;
  },
): FailedFilter {
  return withoutUndefined({ ...rest, kinds: kind, isResolved: resolved });
}
