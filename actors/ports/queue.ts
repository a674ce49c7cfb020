/**
 * Carries job messages to workers, and reports and log lines back. Holds nothing that cannot be published again
 * from the store.
 */
import type { JobMessage, LogLine, Report, SignalNotice } from "../domain/message.ts";
import type { RunningAttempt } from "./presence.ts";

/** accepted: it will be delivered. unroutable: no worker offers the type (in the pool). full: try again later. */
export type PublishAnswer = "accepted" | "unroutable" | "full";

export interface Delivery {
  readonly message: JobMessage;
  /** Settled: claimed and run, or nothing to run. Acknowledging twice is fine. */
  ack(): void;
  /** Give it to another worker (this one has no lane for it). */
  requeue(): void;
}

export interface Subscription {
  /** How many unacknowledged deliveries this consumer may hold. 0 stops the flow without losing the place. */
  setPrefetch(count: number): void;
  /** No delivery comes after the promise settles; unacknowledged ones go back to the queue. */
  stop(): Promise<void>;
}

export interface QueueDepth {
  readonly jobType: string;
  readonly pool: string | null;
  readonly ready: number;
  readonly unacknowledged: number;
  readonly consumers: number;
}

export interface Queue {
  /** False while it is known that nothing can be published from here. */
  canPublish(): boolean;
  /** Answers in the order of the messages, once each is safe or known not to be. */
  publish(messages: readonly JobMessage[]): Promise<readonly PublishAnswer[]>;
  /** Deliveries of a type come in batches, oldest first. `pool` also takes messages pinned to it. */
  consume(
    options: {
      readonly jobType: string;
      readonly routingPattern: string;
      readonly pool: string;
      readonly prefetch: number;
    },
    onDeliveries: (deliveries: readonly Delivery[]) => void,
  ): Promise<Subscription>;
  depth(): Promise<readonly QueueDepth[]>;
  /**
   * Calls back when there is room again for a type whose messages were answered `full` ("room"), and when its
   * queue or its first consumer is new, so that messages may have been lost or unroutable before ("new").
   */
  onDrained(listener: (jobType: string, why: "room" | "new") => void): () => void;
}

/** Reports and log lines on their way to the tracker, each acknowledged after its effect is committed. */
export interface ReportQueue {
  /**
   * Settles when the reports are safe: confirmed, or held back on this worker's disk, from where they are sent for as
   * long as it takes. Only then may the job message be acknowledged.
   */
  sendReports(reports: readonly Report[]): Promise<void>;
  /** What waits on this worker's disk. */
  heldBack(): HeldBack;
  sendLines(lines: readonly LogLine[]): Promise<void>;
  sendProgress(progress: ProgressReport): void;
  /** A hint as well: the attempt's report says it again. */
  sendSignal(signal: SignalNotice): void;
  /** The handler's promise settles when the effects are committed; a rejection brings the same items again. */
  receive(handlers: {
    readonly reports: (reports: readonly Report[]) => Promise<void>;
    readonly lines: (lines: readonly LogLine[]) => Promise<void>;
    readonly progress: (progress: readonly ProgressReport[]) => Promise<void>;
    readonly signals: (signals: readonly SignalNotice[]) => Promise<void>;
  }): Promise<{ stop(): Promise<void> }>;
}

export interface HeldBack {
  /** Reports. */
  readonly count: number;
  /**
   * Attempts whose leases must be kept until their reports have gone: those that came to their end. One that was
   * handed back is to run again, and the end of its lease brings that, too.
   */
  readonly ended: readonly RunningAttempt[];
}

export interface ProgressReport {
  readonly occurrenceId: string;
  readonly scheduledFor: number;
  readonly token: number;
  readonly done: number;
  readonly total: number;
  readonly at: number;
}
