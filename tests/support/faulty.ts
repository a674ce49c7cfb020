/** Wraps a port so that a test can make its calls fail, hang or commit and then fail. */

/** How the next calls of a method go wrong. */
export type Fault =
  /** Nothing was done. */
  | "fails"
  /** It was done, but the caller is told otherwise: the commit whose answer was lost. */
  | "fails-afterwards"
  /** It never answers. */
  | "hangs";

export class Faults {
  readonly #planned = new Map<string, Fault[]>();

  /** The next `times` calls of the method go wrong in this way. */
  plan(method: string, fault: Fault, times = 1): void {
    this.#planned.set(method, [...this.#planned.get(method) ?? [], ...new Array<Fault>(times).fill(fault)]);
  }

  /** What was planned and has not come yet goes well. */
  clear(): void {
    this.#planned.clear();
  }

  /** The same port, with these faults in its way. */
  wrap<T extends object>(port: T): T {
    return new Proxy(port, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function" || typeof name !== "string") return value;
        return (...args: unknown[]) => {
          const fault = this.#planned.get(name)?.shift();
          if (fault === undefined) return value.apply(target, args);
          if (fault === "hangs") return new Promise(() => {});
          const error = new Error(`planned: ${name} ${fault}`);
          if (fault === "fails") return Promise.reject(error);
          return Promise.resolve(value.apply(target, args)).then(() => Promise.reject(error));
        };
      },
    });
  }
}
