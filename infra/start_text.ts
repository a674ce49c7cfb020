/** What an instance prints when it is ready: where it listens, where the data lies, what runs here, what to try next. */
import type { JobTypeOffer } from "../actors/domain/job_type.ts";

export interface StartFacts {
  readonly version: string;
  /** Null on an instance that is only a worker. */
  readonly api: { readonly url: string; readonly needsToken: boolean } | null;
  readonly storeDescription: string;
  /** Null on an instance that is only an API. */
  readonly worker: {
    readonly workerId: string;
    readonly maxParallelJobs: number;
    readonly jobTypes: readonly JobTypeOffer[];
  } | null;
}

export function startText({ version, api, storeDescription, worker }: StartFacts): string {
  return [
    `Milvaion for Deno ${version}`,
    ...(api === null ? [] : [`  listens on   ${api.url}`]),
    `  data         ${storeDescription}`,
    ...(worker === null ? [] : workerLines(worker)),
    "",
    ...(api === null ? [] : nextSteps(api, worker?.jobTypes ?? [])),
  ].join("\n");
}

function workerLines(
  { workerId, maxParallelJobs, jobTypes }: NonNullable<StartFacts["worker"]>,
): readonly string[] {
  const types = jobTypes.map((type) =>
    `  ${type.name.padEnd(20)} ${String(type.maxParallelJobs).padStart(4)} lanes on ${
      type.threads === 1 ? "1 Web Worker" : `up to ${type.threads} Web Workers`
    }`
  );
  return [
    `  worker       ${workerId}: ${maxParallelJobs} lanes in this process (Worker.MaxParallelJobs)`,
    "  job types    (lanes and Web Workers are started on demand)",
    ...types,
  ];
}

function nextSteps(
  { url, needsToken }: NonNullable<StartFacts["api"]>,
  jobTypes: readonly JobTypeOffer[],
): readonly string[] {
  const [first] = jobTypes;
  if (first === undefined) return ["Try next: milvaion worker, on this machine or another, to run jobs.", ""];
  const example = jobTypes.some((type) => type.name === "SampleJob")
    ? '{"displayName":"Hello","jobType":"SampleJob","cronExpression":"*/5 * * * * *","concurrentExecutionPolicy":0,"jobData":{"message":"hi"}}'
    : `{"displayName":"Hello","jobType":"${first.name}","cronExpression":"*/5 * * * * *"}`;
  const authorization = needsToken ? ` -H "authorization: Bearer $MILVAION_API_TOKEN"` : "";
  return [
    "Try next:",
    `  curl ${url}/api/v1/jobs${authorization} -H 'content-type: application/json' -d '${example}'`,
    "",
  ];
}
