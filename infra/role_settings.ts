/** What the configuration says about leading, watching and what types are given, in the actors' own words. */
import { DEFAULT_FAILURE_RULES } from "../actors/domain/retry.ts";
import type { TypeDefaults } from "../actors/domain/terms.ts";
import { autoDisableSettings } from "./auto_disable_settings.ts";
import type { Config } from "./config.ts";

/** Where neither job, job file nor consumer section says. */
const MAX_RETRIES = 3;
const BASE_RETRY_DELAY_SECONDS = 5;

/** What an API instance does while it leads. */
export function leaderSettings({ MilvaionConfig: { JobDispatcher, Retention } }: Config) {
  return {
    lockTtlMs: JobDispatcher.LockTtlSeconds * 1000,
    misfireThresholdMs: JobDispatcher.MisfireThresholdSeconds * 1000,
    catchUp: {
      spacingMs: JobDispatcher.CatchUpSpacingSeconds * 1000,
      perSecond: JobDispatcher.CatchUpPerSecond,
    },
    batchSize: JobDispatcher.BatchSize,
    pollMs: JobDispatcher.PollingIntervalSeconds * 1000,
    retention: {
      rules: {
        completedDays: Retention.CompletedDays,
        failedDays: Retention.FailedDays,
        keepLast: Retention.KeepLast,
        lineDays: Retention.LineDays,
        unresolvedDays: Retention.UnresolvedDays,
      },
      intervalMs: Retention.IntervalMinutes * 60_000,
    },
  };
}

/** How often each API instance looks whether what was due has been decided. */
export function watchdogSettings({ MilvaionConfig: { Watchdog } }: Config) {
  return {
    intervalMs: Watchdog.IntervalSeconds * 1000,
    toleranceMs: Watchdog.ToleranceSeconds * 1000,
  };
}

/** What a type is given of which no worker has been heard. */
export function typeDefaults(config: Config): TypeDefaults {
  return {
    maxRetries: MAX_RETRIES,
    baseRetryDelaySeconds: BASE_RETRY_DELAY_SECONDS,
    executionTimeoutSeconds: config.Worker.ExecutionTimeoutSeconds,
    rules: { ...DEFAULT_FAILURE_RULES, autoDisable: autoDisableSettings(config) },
  };
}

/** How long runs may go on when the program stops, before their signal: what is left of the grace is for heeding it. */
export function drainMs({ Worker: { ShutdownGraceSeconds, KillGraceSeconds } }: Config): number {
  return (ShutdownGraceSeconds - KillGraceSeconds) * 1000;
}

/** Between two announcements of a worker. */
export function heartbeatMs(config: Config): number {
  return config.Worker.Heartbeat.IntervalSeconds * 1000;
}
