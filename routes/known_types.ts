/** Job types as the workers offer them, for saving a job of one. */
import type { JobTypeOffer } from "../actors/domain/job_type.ts";
import { nearestNames } from "../actors/domain/nearest.ts";
import type { ApiDeps } from "./deps.ts";
import type { FieldError } from "./errors.ts";

/** How long a job waits for the first worker to say that it is there, milliseconds: both may just have started. */
export const FIRST_WORKER_WAIT_MS = 2000;

export interface KnownTypes {
  /** The newest offer of a type, or null when no worker offers it now. */
  offer(jobType: string): JobTypeOffer | null;
  /** Empty when a job of this type may be saved. */
  errorsOf(jobType: string): readonly FieldError[];
}

type Deps = Pick<ApiDeps, "jobTypes" | "events" | "clock" | "log">;

/** What is offered now. `accepted` is a type that is accepted whether or not it is offered. */
export async function knownTypes(deps: Deps, wanted: string, accepted: string | null): Promise<KnownTypes> {
  const { jobTypes } = deps;
  const isAccepted = (jobType: string) => accepted === jobType;
  await jobTypes.refresh();
  if (jobTypes.offer(wanted) === null && !isAccepted(wanted)) {
    await jobTypes.refresh(true);
    if (jobTypes.names().length === 0) await firstWorker(deps);
  }
  return {
    offer: (jobType) => jobTypes.offer(jobType),
    errorsOf: (jobType) =>
      jobTypes.offer(jobType) !== null || isAccepted(jobType) ? [] : [unknownType(jobType, jobTypes.names())],
  };
}

function unknownType(jobType: string, names: readonly string[]): FieldError {
  const nearest = nearestNames(jobType, names);
  const offered = names.length === 0 ? "No worker is there" : "No worker offers this type";
  const meant = nearest.length > 0 ? ` Did you mean ${nearest.join(" or ")}?` : "";
  return {
    field: "jobType",
    pointer: "/jobType",
    code: "job_type_unknown",
    message: `${offered}.${meant} Add ?allowUnknownType=true to save the job ahead of its worker.`,
    allowed: nearest.length > 0 ? nearest : names,
  };
}

function firstWorker({ jobTypes, events, clock, log }: Deps): Promise<void> {
  return new Promise((resolve) => {
    const ends: (() => void)[] = [];
    const end = () => {
      for (const one of ends) one();
      resolve();
    };
    const look = () => {
      jobTypes.refresh(true).then(
        () => jobTypes.names().length > 0 && end(),
        (error) => log.warn(`Cannot ask which workers are there: ${error}`),
      );
    };
    ends.push(clock.timer(FIRST_WORKER_WAIT_MS, end), events.subscribe(["workersChanged"], look));
    // One may have come between the last look and the subscription.
    look();
  });
}
