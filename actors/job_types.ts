/**
 * What the workers offer, as this instance last heard: for validating payloads, naming unknown types and giving
 * due times their type's limits. Limits are remembered after the last worker of a type left, so that a restart of a
 * pool does not change what its jobs are given. While presence is out of reach the last word counts.
 */
import { defaultRoutingPattern, type JobTypeOffer } from "./domain/job_type.ts";
import type { Clock } from "./ports/clock.ts";
import type { Presence, WorkerInstance } from "./ports/presence.ts";
import type { FailureRules } from "./domain/retry.ts";
import type { TypeDefaults } from "./domain/terms.ts";

const REFRESH_MS = 1000;

export interface KnownType {
  readonly jobType: string;
  readonly routingPattern: string;
  readonly pools: readonly string[];
}

export interface JobTypes {
  /** The newest offer of this type, or null when no worker offers it. */
  offer(jobType: string): JobTypeOffer | null;
  /** Names on offer, sorted. */
  names(): readonly string[];
  /** The routing pattern of a type as a worker said last, or the one that it has by its name. */
  routingPattern(jobType: string): string;
  /** Every type that was ever heard of here, with the pools of the workers that offer it now. */
  known(): readonly KnownType[];
  /** The limits of a type, or the server's when no worker has been heard of. */
  defaults(jobType: string): TypeDefaults;
  /**
   * Asks presence again when what is known is older than a second; when it cannot be asked, what is known stays. With
   * `now` it is asked at once, and a failure is the caller's.
   */
  refresh(now?: boolean): Promise<readonly WorkerInstance[]>;
}

export function createJobTypes(
  deps: { readonly presence: Presence; readonly clock: Clock; readonly fallback: TypeDefaults },
): JobTypes {
  let offers = new Map<string, JobTypeOffer>();
  let instances: readonly WorkerInstance[] = [];
  const remembered = new Map<string, TypeDefaults>();
  const patterns = new Map<string, string>();
  let refreshedAt = -Infinity;
  let asking: Promise<void> | null = null;

  return {
    offer: (jobType) => offers.get(jobType) ?? null,
    routingPattern: (jobType) => patterns.get(jobType) ?? defaultRoutingPattern(jobType),
    known: () =>
      [...patterns].map(([jobType, routingPattern]) => {
        const offering = instances.filter((one) => one.jobTypes.some((offer) => offer.name === jobType));
        return { jobType, routingPattern, pools: [...new Set(offering.map((one) => one.workerId))] };
      }),
    names: () => [...offers.keys()].sort(),
    defaults: (jobType) => remembered.get(jobType) ?? deps.fallback,
    async refresh(now = false) {
      if (!now && deps.clock.mono() - refreshedAt < REFRESH_MS) return instances;
      // Who asks while an answer is on its way waits for it.
      asking ??= ask().finally(() => asking = null);
      try {
        await asking;
      } catch (error) {
        if (now) throw error;
      }
      return instances;
    },
  };

  async function ask(): Promise<void> {
    try {
      instances = await deps.presence.list();
    } finally {
      refreshedAt = deps.clock.mono();
    }
    offers = new Map();
    for (const offer of instances.flatMap((instance) => instance.jobTypes)) {
      offers.set(offer.name, offer);
      patterns.set(offer.name, offer.routingPattern);
      remembered.set(offer.name, {
        maxRetries: offer.maxRetries,
        baseRetryDelaySeconds: offer.baseRetryDelaySeconds,
        executionTimeoutSeconds: offer.executionTimeoutSeconds,
        rules: rulesOf(offer, deps.fallback.rules),
      });
    }
  }
}

/** What the type says about failures; when jobs are disabled is the server's to say. */
function rulesOf(offer: JobTypeOffer, server: FailureRules): FailureRules {
  return {
    maxRetryDelaySeconds: offer.maxRetryDelaySeconds ?? server.maxRetryDelaySeconds,
    retryBudgetSeconds: offer.retryBudgetSeconds ?? server.retryBudgetSeconds,
    retryRules: offer.retryRules ?? server.retryRules,
    autoDisable: server.autoDisable,
  };
}
