/** What `run` prints when it is ready: where it listens, where the data lies, what runs here, what to try next. */
import type { JobTypeOffer } from "../actors/domain/job_type.ts";

export interface StartFacts {
  readonly version: string;
  readonly url: string;
  readonly storeDescription: string;
  readonly workerId: string;
  readonly maxParallelJobs: number;
  readonly jobTypes: readonly JobTypeOffer[];
  readonly needsToken: boolean;
}

export function startText(facts: StartFacts): string {
  const types = facts.jobTypes.map((type) =>
    `  ${type.name.padEnd(20)} ${String(type.maxParallelJobs).padStart(4)} lanes on ${
      type.threads === 1 ? "1 Web Worker" : `up to ${type.threads} Web Workers`
    }`
  );
  const example = facts.jobTypes.some((type) => type.name === "SampleJob")
    ? '{"displayName":"Hello","jobType":"SampleJob","cronExpression":"*/5 * * * * *","concurrentExecutionPolicy":0,"jobData":{"message":"hi"}}'
    : `{"displayName":"Hello","jobType":"${
      facts.jobTypes[0]?.name ?? "MyJob"
    }","cronExpression":"*/5 * * * * *"}`;
  const authorization = facts.needsToken ? ` -H "authorization: Bearer $MILVAION_API_TOKEN"` : "";
  return [
    `Milvaion for Deno ${facts.version}`,
    `  listens on   ${facts.url}`,
    `  data         ${facts.storeDescription}`,
    `  worker       ${facts.workerId}: ${facts.maxParallelJobs} lanes in this process (Worker.MaxParallelJobs)`,
    "  job types    (lanes and Web Workers are started on demand)",
    ...types,
    "",
    "Try next:",
    `  curl ${facts.url}/api/v1/jobs${authorization} -H 'content-type: application/json' -d '${example}'`,
    "",
  ].join("\n");
}
