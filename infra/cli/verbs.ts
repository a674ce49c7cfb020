/** All verbs, in the order of the help text. */
import { BULK_VERBS } from "./bulk_verbs.ts";
import { FAILED_VERBS } from "./failed_verbs.ts";
import { CAPACITY_VERBS } from "./capacity_verbs.ts";
import { FLEET_VERBS } from "./fleet_verbs.ts";
import { JOB_VERBS } from "./job_verbs.ts";
import { SCALING_VERBS } from "./scaling_verbs.ts";
import { OCCURRENCE_VERBS } from "./occurrence_verbs.ts";
import type { Verb } from "./verb.ts";

/** Every verb there is. */
export const VERBS: readonly Verb[] = [
  ...JOB_VERBS,
  ...OCCURRENCE_VERBS,
  ...FAILED_VERBS,
  ...BULK_VERBS,
  ...FLEET_VERBS,
  ...CAPACITY_VERBS,
  ...SCALING_VERBS,
];
