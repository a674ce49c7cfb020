/**
 * How a command ends, for scripts. The numbers are those of sysexits(3) where it has one; infra/README.md lists
 * them for users.
 */
export const EXIT = {
  ok: 0,
  /** The server refused because of the present state: a conflict, a run in the way. */
  refused: 1,
  /** Unknown command or flag, a value missing or of the wrong kind. */
  usage: 64,
  /** What was given is read but not accepted: no JSON, no UTF-8, too large, refused by validation. */
  data: 65,
  /** A file or an id that does not exist. */
  noInput: 66,
  /** The server cannot be reached, is not ready, or its certificate is not valid. */
  unavailable: 69,
  /** The server failed. */
  software: 70,
  /** What answers is no Milvaion, or one that does not know this request. */
  protocol: 76,
  /** A token is missing or not accepted, or this caller is not let in. */
  noPermission: 77,
  /** The configuration is wrong. */
  config: 78,
} as const;

/** One of the numbers of EXIT. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A command that cannot do what was asked: one line, and a hint how to go on. */
export class CommandFailure extends Error {
  constructor(
    readonly exitCode: ExitCode,
    message: string,
    readonly hint: string | null = null,
    /** Each thing that is wrong, a line each. */
    readonly details: readonly string[] = [],
  ) {
    super(message);
    this.name = "CommandFailure";
  }
}
