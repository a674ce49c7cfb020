/**
 * What keeps a due time of a job from running, whatever its age and whatever else is on. The decision, the outlook and
 * the count of what lies behind a pass all ask here.
 */
import { openFrom } from "./auto_disable.ts";
import type { Job } from "./job.ts";
import type { RangeReason } from "./verdict.ts";

/** The reasons of a range that the job itself gives, in the order in which they are looked for. */
export type Bar = Exclude<RangeReason, "missed">;

/** Why a due time does not run, or null when it may; while the job is disabled by failures, as its probe only. */
export function barAt(job: Job, due: number): Bar | null {
  const { startAt, endAt, pause, skippedDueTime } = job;
  if ((startAt !== null && due < startAt) || (endAt !== null && due >= endAt)) return "outside-window";
  if (!job.isActive) return "disabled";
  if (due < openFrom(job.autoDisabled)) return "auto-disabled";
  if (pause !== null && due >= pause.since && (pause.until === null || due < pause.until)) return "paused";
  return skippedDueTime?.dueAt === due ? "skipped-once" : null;
}

/** The stretches between two moments (both included) in which nothing bars a due time; the opposite of `barAt`. */
export function openStretches(job: Job, from: number, to: number): readonly (readonly [number, number])[] {
  if (!job.isActive) return [];
  const { pause, skippedDueTime } = job;
  let open: (readonly [number, number])[] = [[
    Math.max(from, job.startAt ?? from, openFrom(job.autoDisabled)),
    Math.min(to, (job.endAt ?? Infinity) - 1),
  ]];
  const close = (since: number, until: number) =>
    open = open.flatMap(([first, last]) => [
      [first, Math.min(last, since - 1)],
      [Math.max(first, until), last],
    ]);
  if (pause !== null && (pause.until === null || pause.until > pause.since)) {
    close(pause.since, pause.until ?? Infinity);
  }
  if (skippedDueTime !== null) close(skippedDueTime.dueAt, skippedDueTime.dueAt + 1);
  return open;
}
