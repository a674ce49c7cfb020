/** Rows as the messages that tell workers of them. */
import type { JobMessage } from "../../actors/domain/message.ts";
import type { Row, Session } from "./database.ts";
import { asText, asTime, millis } from "./literal.ts";
import type { Terms, TermsBook } from "./terms.ts";

/** The select list that `JobMessages.of` reads, of `occurrences o`; more columns may follow. */
export const MESSAGE_COLUMNS = `o.seq, o.id, ${
  millis("o.scheduled_for")
}, o.terms, o.token, o.attempt, o.job_data`;

export class JobMessages {
  constructor(private readonly terms: TermsBook) {}

  /** The messages of rows that begin with `MESSAGE_COLUMNS`. */
  async of(session: Session, rows: readonly Row[]): Promise<readonly JobMessage[]> {
    if (rows.length === 0) return [];
    const terms = await this.terms.load(session, new Set(rows.map((row) => Number(row[3]))));
    const payloads = await this.terms.payloads(session, terms.values());
    return rows.map((row) => {
      const of = terms.get(Number(row[3]));
      if (of === undefined) throw new Error(`Cannot read terms ${row[3]}: no such row`);
      return messageOf({
        id: String(row[1]),
        scheduledFor: asTime(row[2]),
        terms: of,
        token: Number(row[4]),
        attempt: Number(row[5]),
        jobData: asText(row[6]) ?? payloads.get(of.payload) ?? "{}",
      });
    });
  }
}

export function messageOf(one: {
  readonly id: string;
  readonly scheduledFor: number;
  readonly terms: Terms;
  readonly token: number;
  readonly attempt: number;
  readonly jobData: string;
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
    jobData: one.jobData,
    executionTimeoutSeconds: terms.executionTimeoutSeconds,
  };
}
