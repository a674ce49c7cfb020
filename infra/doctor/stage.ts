/** What the doctor asks a running installation for. */
export const STAGES = ["live", "before-scaling", "after-scaling"] as const;
export type Stage = (typeof STAGES)[number];
