/** What the configuration says about jobs that keep failing, in the domain's words. */
import type { AutoDisableRule } from "../actors/domain/retry.ts";
import type { Config } from "./config.ts";

export function autoDisableSettings({ MilvaionConfig: { JobAutoDisable } }: Config): AutoDisableRule {
  const { Enabled, ConsecutiveFailureThreshold, FailureWindowMinutes, CooldownMinutes } = JobAutoDisable;
  return {
    isEnabled: Enabled,
    failures: ConsecutiveFailureThreshold,
    windowSeconds: FailureWindowMinutes * 60,
    cooldownSeconds: CooldownMinutes === 0 ? null : CooldownMinutes * 60,
  };
}
