/** Replaced by the schedule module. */
export type Schedule =
  | {
    readonly kind: "cron";
    /** As the user wrote it (may contain H). */
    readonly expression: string;
    /** What is computed with: H resolved from the job id. */
    readonly resolved: string;
    /** IANA zone, e.g. `Europe/Berlin`. */
    readonly timeZone: string;
    readonly gap: "RunAtNextValid" | "Skip";
    readonly fold: "First" | "Both";
  }
  | { readonly kind: "once"; readonly executeAt: number }
  | { readonly kind: "triggerOnly" };
