/** The reference as an object: all that others see of an actor. */
import type { ActorRef, TellAnswer } from "./actor.ts";
import type { Cell } from "./cell.ts";

/** Made once for each actor. The cell behind it stays out of sight of code, logs and clones. */
export class Ref implements ActorRef<unknown> {
  readonly #cell: Cell;
  readonly id: number;
  readonly path: string;

  constructor(cell: Cell) {
    this.#cell = cell;
    this.id = cell.id;
    this.path = cell.path;
  }

  tell(message: unknown): TellAnswer {
    return this.#cell.tell(message);
  }

  /** The cell behind a reference, or null when the reference is not the kernel's (a stand-in of a test). */
  static cellBehind(actor: ActorRef<never>): Cell | null {
    return actor instanceof Ref ? actor.#cell : null;
  }
}

/** The cell behind a reference. Throws a TypeError for one that the kernel did not make. */
export function cellOf(actor: ActorRef<never>): Cell {
  const cell = Ref.cellBehind(actor);
  if (cell === null) throw new TypeError(`${actor.path} is no actor of this kernel`);
  return cell;
}
