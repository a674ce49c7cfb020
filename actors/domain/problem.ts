/** One thing that is wrong with what someone gave. A refusal carries all of them at once. */
export interface Problem {
  /** The name of the field as it is written on the wire, e.g. `cronExpression`. */
  readonly field: string;
  /** A stable word for programs, e.g. `cron_invalid`. */
  readonly code: string;
  /** A sentence for people: what is wrong, and the remedy. */
  readonly message: string;
  /** What was given, cut to a readable length. */
  readonly given?: string;
  /** What would be accepted: names, ranges, forms. */
  readonly allowed?: readonly string[];
}

const SHOWN_CHARACTERS = 80;

/** What was given, short enough to stand in a problem. */
export function shown(given: string): string {
  return given.length <= SHOWN_CHARACTERS ? given : `${given.slice(0, SHOWN_CHARACTERS)}…`;
}
