/** Asking: a message that carries a way to answer, and a deadline. For the edge of the system, not for actors. */
import type { ActorRef, KernelClock } from "./actor.ts";
import { Ref } from "./ref.ts";

/** No answer came in time. The message may still be received: a timeout does not mean undone. */
export class AskTimeout extends Error {
  override readonly name = "AskTimeout";
  constructor(readonly path: string, readonly deadlineMs: number) {
    super(`${path} did not answer within ${deadlineMs} ms`);
  }
}

/** The actor had ended, or ended before it answered. */
export class ActorStopped extends Error {
  override readonly name = "ActorStopped";
  constructor(readonly path: string) {
    super(`${path} has ended`);
  }
}

/** The actor's mailbox was full: the message was not kept. */
export class MailboxFull extends Error {
  override readonly name = "MailboxFull";
  constructor(readonly path: string) {
    super(`The mailbox of ${path} is full`);
  }
}

/**
 * Tells the message that `make` makes and settles with the first answer. Rejects with AskTimeout after
 * `deadlineMs`, with ActorStopped, or with MailboxFull. Later answers are ignored.
 */
export function ask<M, R>(
  clock: KernelClock,
  actor: ActorRef<M>,
  make: (reply: (answer: R) => void) => M,
  deadlineMs: number,
): Promise<R> {
  return new Promise((resolve, reject) => {
    const cell = Ref.cellBehind(actor);
    const cancelTimer = clock.timer(deadlineMs, () => refuse(new AskTimeout(actor.path, deadlineMs)));
    if (cell?.end === null) cell.onEnd(onEnd);
    try {
      const told = actor.tell(make((answer) => {
        settled();
        resolve(answer);
      }));
      if (told === "full") refuse(new MailboxFull(actor.path));
      if (told === "stopped") onEnd();
    } catch (error) {
      refuse(error);
    }

    function onEnd(): void {
      refuse(new ActorStopped(actor.path));
    }
    function refuse(error: unknown): void {
      settled();
      reject(error);
    }
    function settled(): void {
      cancelTimer();
      cell?.offEnd(onEnd);
    }
  });
}
