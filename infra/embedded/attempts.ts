/** The right to run, in process: claims and renewals go through the same group commits as everything else. */
import type { ClaimAnswer, RenewAnswer } from "../../actors/domain/message.ts";
import { isFinal, statusOf } from "../../actors/domain/occurrence.ts";
import type { Attempts, ClaimRequest } from "../../actors/ports/attempts.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { RunningAttempt } from "../../actors/ports/presence.ts";
import type { GroupCommit } from "./group_commit.ts";
import type { OccurrenceRows } from "./occurrence_rows.ts";
import type { TermsBook } from "./terms.ts";

export class EmbeddedAttempts implements Attempts {
  constructor(
    private readonly group: GroupCommit,
    private readonly rows: OccurrenceRows,
    private readonly terms: TermsBook,
    private readonly clock: Clock,
  ) {}

  claim(requests: readonly ClaimRequest[], leaseMs: number): Promise<readonly ClaimAnswer[]> {
    const now = this.clock.now();
    return this.group.write(() => requests.map((request) => this.#claim(request, now, now + leaseMs)));
  }

  renew(attempts: readonly RunningAttempt[], leaseMs: number): Promise<readonly RenewAnswer[]> {
    const leaseUntil = this.clock.now() + leaseMs;
    return this.group.write(() =>
      attempts.map(({ occurrenceId, token }): RenewAnswer => {
        const renewed = this.rows.renew(occurrenceId, token, leaseUntil);
        return renewed === undefined ? { ok: false } : { ok: true, cancel: renewed.cancel };
      })
    );
  }

  #claim(request: ClaimRequest, at: number, leaseUntil: number): ClaimAnswer {
    const one = this.rows.find(request.message.occurrenceId);
    if (one === null) return { ok: false, reason: "gone" };
    const status = statusOf(one.status);
    if (status === "Cancelled") return { ok: false, reason: "cancelled" };
    if (isFinal(status)) return { ok: false, reason: "final" };
    if (status !== "Queued" || one.token !== request.message.token) {
      return { ok: false, reason: "stale-token" };
    }
    // The clock is asked only about what waits for a moment: what was ready before it was set back is ready.
    const isReady = one.readyAt !== null && (one.readyAt <= at || one.nextActionAt !== one.readyAt);
    if (!isReady) return { ok: false, reason: "not-ready" };
    const instance = this.terms.instanceSeq(request.workerId, request.instanceId);
    const jobData = request.message.jobDataBytes === undefined ? null : this.rows.message(one).jobData;
    const granted = this.rows.claim(one, { instance, at, leaseUntil });
    return { ok: true, ...granted, ...(jobData === null ? {} : { jobData }) };
  }
}
