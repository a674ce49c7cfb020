/** Single values that the installation remembers, by name. */
export interface Facts {
  /** Null when nobody has written it. */
  read(name: string): Promise<string | null>;
  /** Replaces what was there. */
  write(name: string, value: string): Promise<void>;
}
