/** The pool's record of one attempt, from `run` to `ended`. */
import type { Outcome } from "../actors/domain/message.ts";
import type { KillRung } from "../actors/domain/occurrence.ts";
import type { AttemptListener, AttemptRequest, RunningJob } from "../actors/ports/pool.ts";
import type { JobType } from "./job_types.ts";
import type { AbortCode, GuestItem } from "./protocol.ts";
import type { Thread } from "./thread.ts";

/** Why an attempt was told to end. */
export interface Abort {
  readonly code: AbortCode;
  readonly message: string;
}

export class Attempt implements RunningJob {
  thread: Thread | null = null;
  cell = 0;
  /** It is on its way to the guest, or there: its code may be running. */
  sent = false;
  /** Monotonic moment at which its code was known to run. */
  startedAt: number | null = null;
  /** Its time limit counts. */
  limited = false;
  abort: Abort | null = null;
  /** What nobody caught: it has failed by this, whatever `run` does afterwards. */
  fault: Extract<Outcome, { kind: "failed" }> | null = null;
  ended = false;
  /** It begins when this one ends; null when it need not wait, or no longer. */
  after: Attempt | null = null;
  /** Wanted back, should it not have begun. */
  isRecalled = false;
  /** How often it waited for a thread that then went before it had loaded the job file. */
  failedLoads = 0;
  /** Cancels its time limit or its grace, whichever runs. */
  cancelTimer: () => void = () => {};
  readonly #watchers: (() => void)[] = [];

  constructor(
    /** Unique among the attempts in this pool now. A new one each time it is placed again. */
    public id: number,
    readonly type: JobType,
    readonly request: AttemptRequest,
    readonly listener: AttemptListener,
    private readonly on: {
      cancel(attempt: Attempt, code: AbortCode, message: string): void;
      recall(attempt: Attempt): void;
    },
  ) {}

  cancel(why: "cancelled" | "lease-lost" | "stopping", message: string): void {
    this.on.cancel(this, why, message);
  }

  recall(): void {
    this.on.recall(this);
  }

  /** What the guest is sent. */
  item(): GuestItem {
    const { occurrenceId, jobId, scheduledFor, token, attempt, maxAttempts, jobData } = this.request;
    const after = this.after?.id ?? 0;
    return [
      this.id,
      this.cell,
      occurrenceId,
      jobId,
      scheduledFor,
      token,
      attempt,
      maxAttempts,
      jobData,
      after,
    ];
  }

  /** Calls back when the attempt has ended; at once when it has. */
  whenEnded(callback: () => void): void {
    if (this.ended) callback();
    else this.#watchers.push(callback);
  }

  /** Tells the listener, once. */
  end(outcome: Outcome, durationMs: number): void {
    if (this.ended) return;
    this.ended = true;
    this.cancelTimer();
    this.listener.ended(outcome, durationMs);
    for (const watcher of this.#watchers.splice(0)) watcher();
  }

  /**
   * The outcome of an attempt, from what the guest said last (null: nothing, it was cut off or never began) and why
   * it was told to end. Work that was finished although the worker wanted to stop counts as finished.
   */
  outcome(said: Outcome | null, rung: KillRung): Outcome {
    const { abort, fault, request } = this;
    if (fault !== null) return fault;
    switch (abort?.code) {
      case "timeout":
        return { kind: "timedOut", rung, limitMs: request.timeoutMs ?? 0 };
      case "cancelled":
        return { kind: "cancelled", rung };
      case "lease-lost":
      case "stopping":
        return said?.kind === "completed" ? said : { kind: "handedBack", why: abort.code };
      case "sibling":
      case "fault":
        return said?.kind === "completed" ? said : { kind: "handedBack", why: "sibling-killed" };
      case undefined:
        return said ?? { kind: "handedBack", why: "sibling-killed" };
    }
  }
}
