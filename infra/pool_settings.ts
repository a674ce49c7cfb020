/** What the configuration says about the pool, in the pool's own words. */
import type { Config, ConsumerConfig } from "./config.ts";

/** A busy machine keeps a process waiting for a moment: that is no reason to end what its hosts run. */
const HOST_SILENCE_AT_LEAST_MS = 2000;

/** `samples`: folder of the sample jobs. */
export function poolSettings(config: Config, samples: string) {
  const { Worker, JobConsumers } = config;
  const own = Worker.JobFolders.map((folder) => new URL(folder, `file://${Deno.cwd()}/`).pathname);
  return {
    jobFolders: [...Worker.Samples ? [samples] : [], ...own],
    // Who names a folder on the command line means to run what is in it.
    trustedFolders: own,
    ...(Worker.JobTypes.length === 0 ? {} : { types: Worker.JobTypes }),
    maxParallelJobs: Worker.MaxParallelJobs,
    executionTimeoutSeconds: Worker.ExecutionTimeoutSeconds,
    consumers: Object.fromEntries(
      Object.entries(JobConsumers).map(([name, one]) => [name, consumerSettings(one)]),
    ),
    killGraceMs: Worker.KillGraceSeconds * 1000,
    heapLimitMb: Worker.HeapLimitMb,
    maxResultBytes: Worker.MaxResultKiB * 1024,
    // Ends job code before its lease does.
    parentSilenceMs: Math.max(HOST_SILENCE_AT_LEAST_MS, Worker.LeaseSeconds * 1000 / 3),
  };
}

/** Keys that nobody gave stay absent. */
function consumerSettings(consumer: ConsumerConfig) {
  const { Permissions, ...rest } = consumer;
  const settings = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key.charAt(0).toLowerCase() + key.slice(1), value]),
  );
  return { ...settings, ...(Permissions === undefined ? {} : { permissions: Permissions }) };
}
