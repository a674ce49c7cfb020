/** Which store this process works for. A worker without a database learns it from an API instance (`hello`). */
export class Identity {
  constructor(public storeId: string | null) {}

  /** True for messages of this store, and for any while the own one is not known yet. */
  readonly isOurs = (storeId: unknown): boolean => this.storeId === null || storeId === this.storeId;
}
