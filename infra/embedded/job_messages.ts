/** Rows as the messages that tell workers of them. */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Row } from "./database.ts";
import type { Terms, TermsBook } from "./terms.ts";

/** The select list that `JobMessages.of` reads; more columns may follow. */
export const MESSAGE_COLUMNS = "seq, id, scheduled_for, terms, token, attempt, job_data";

export class JobMessages {
  constructor(private readonly terms: TermsBook) {}

  /** The message of a row that begins with `MESSAGE_COLUMNS`. */
  of(row: Row): JobMessage {
    const [, id, scheduledFor, terms, token, attempt, jobData] = row;
    return this.make({
      id: String(id),
      scheduledFor: Number(scheduledFor),
      terms: this.terms.get(Number(terms)),
      token: Number(token),
      attempt: Number(attempt),
      jobData: typeof jobData === "string" ? jobData : null,
    });
  }

  make(one: {
    readonly id: string;
    readonly scheduledFor: number;
    readonly terms: Terms;
    readonly token: number;
    readonly attempt: number;
    /** Its own; null takes the job's. */
    readonly jobData: string | null;
  }): JobMessage {
    const { terms } = one;
    return {
      occurrenceId: one.id,
      scheduledFor: one.scheduledFor,
      jobId: terms.jobId,
      jobType: terms.jobType,
      pool: terms.pool,
      token: one.token,
      attempt: one.attempt,
      maxAttempts: terms.maxAttempts,
      jobData: one.jobData ?? this.terms.payload(terms),
      executionTimeoutSeconds: terms.executionTimeoutSeconds,
    };
  }
}
