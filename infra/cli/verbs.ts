/** All verbs, in the order of the help text. */
import { FLEET_VERBS } from "./fleet_verbs.ts";
import { JOB_VERBS } from "./job_verbs.ts";
import { OCCURRENCE_VERBS } from "./occurrence_verbs.ts";
import type { Verb } from "./verb.ts";

/** Every verb there is. */
export const VERBS: readonly Verb[] = [...JOB_VERBS, ...OCCURRENCE_VERBS, ...FLEET_VERBS];
