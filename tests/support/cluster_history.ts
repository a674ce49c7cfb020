/**
 * The history of a cluster under faults, as its witnesses wrote it: the database's own triggers, the jobs, the
 * clients and whoever injected the faults. None of them believes what the program says of itself.
 */
import type { LedgerHistory } from "./ledger_checker.ts";

/** What a trigger of the database saw in one transaction. */
interface Seen {
  /** Grows in the order of commits. */
  readonly order: number;
  /** Epoch milliseconds, by the database's clock. */
  readonly at: number;
  /** `application_name` of the connection: which process wrote. */
  readonly session: string;
  /** The transaction, to find it in the database's log. */
  readonly transaction: string;
}

/** An occurrence's row was inserted (`from` null), changed or deleted (`to` null). */
export interface Edge extends Seen {
  readonly occurrenceId: string;
  readonly jobId: string;
  readonly from: string | null;
  readonly to: string | null;
  readonly fromToken: number;
  readonly toToken: number;
}

/** Something that only the leader may write. */
export interface LeaderWrite extends Seen {
  /** For people: `job … decided until …`. */
  readonly what: string;
}

/** The epoch was raised. */
export interface Raise extends Seen {
  readonly epoch: number;
}

/** A call of a client. `info`: nobody knows whether it was done, and it never counts as failed. */
export interface ClientCall {
  readonly kind: "trigger" | "replay" | "cancel";
  /** Of a trigger or replay: its `Idempotency-Key`, also its reason, by which the row is known. */
  readonly key: string;
  readonly jobId: string;
  /** Of a cancel: which occurrence; of the others: what the answer said, or null. */
  readonly occurrenceId: string | null;
  readonly invokedAt: number;
  readonly endedAt: number;
  readonly outcome: "ok" | "fail" | "info";
  /** HTTP status, or null when there was no answer. */
  readonly status: number | null;
}

/** What was done to the system, from when to when. Epoch milliseconds. */
export interface Fault {
  readonly what: string;
  readonly from: number;
  readonly to: number;
  /** Processes were frozen: a run that writes nothing meanwhile does nothing either. */
  readonly isFreeze?: boolean;
}

export interface ClusterHistory extends LedgerHistory {
  readonly occurrences: readonly (LedgerHistory["occurrences"][number] & {
    /** The reason that its trigger or replay gave, or null. */
    readonly createdReason: string | null;
    readonly catchesUp: boolean;
  })[];
  readonly edges: readonly Edge[];
  readonly leaderWrites: readonly LeaderWrite[];
  readonly raises: readonly Raise[];
  readonly calls: readonly ClientCall[];
  readonly faults: readonly Fault[];
}
