/** The pool's side of one executor host: its child process and the threads in it. */
import type { Child, ChildEnd } from "./child.ts";
import type { JobType } from "./job_types.ts";
import { Thread } from "./thread.ts";
import { guestPermissions } from "./permissions.ts";
import { pathToFileURL } from "node:url";
import { type GuestEntry, type GuestSpec, type HostNews, RECORD_SEPARATOR } from "./protocol.ts";

/** Web Workers in one host. */
export const THREADS_A_HOST = 16;
/** A thread that is ended gives back most of its memory, not all: after so many the host is replaced. */
const THREADS_ENDED_AT_MOST = 50;

export interface ExecutorEvents {
  entries(thread: Thread, entries: readonly GuestEntry[]): void;
  news(executor: Executor, news: HostNews): void;
  /** Something on stdout that is not of the protocol. */
  noise(executor: Executor, text: string): void;
  gone(executor: Executor, end: ChildEnd): void;
}

export class Executor {
  /** Takes no new thread. */
  draining = false;
  /** Killed by the pool, not by what runs in it. */
  killed = false;
  /** It said that it ends because its memory is over the limit. */
  overMemory = false;
  /** Resident memory as it said last, bytes. */
  rssBytes = 0;
  /** Processor time as it said last, milliseconds. */
  cpuMs = 0;
  readonly threads = new Map<number, Thread>();
  readonly #waiting = new Set<Thread>();
  #flushPlanned = false;
  #threadsEnded = 0;
  #child: Child | null = null;

  constructor(
    readonly hostKey: string,
    /** It runs one suspect and nothing else. */
    readonly alone: boolean,
    private readonly options: {
      readonly events: ExecutorEvents;
      /** Of the results of its guests. */
      readonly maxResultBytes: number;
    },
  ) {}

  /** Starts the process. Throws when it cannot be started. */
  start(spawn: (events: { line(text: string): void; ended(end: ChildEnd): void }) => Child): void {
    this.#child = spawn({
      line: (text) => this.#heard(text),
      ended: (end) => {
        for (const thread of this.threads.values()) thread.leave();
        this.options.events.gone(this, end);
      },
    });
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Settles when the process is gone. */
  get gone(): Promise<void> {
    return this.#child?.gone ?? Promise.resolve();
  }

  get hasRoom(): boolean {
    return !this.draining && !this.alone && this.threads.size < THREADS_A_HOST;
  }

  startThread(number: number, type: JobType, capacity: number, now: number): Thread {
    const thread = new Thread(number, type, this, capacity, now);
    const spec: GuestSpec = {
      jobType: type.offer.name,
      file: pathToFileURL(type.file).href,
      cells: capacity,
      maxResultBytes: this.options.maxResultBytes,
      permissions: guestPermissions(type.grants),
    };
    this.threads.set(number, thread);
    this.send(`+${number} ${JSON.stringify(spec)}`);
    return thread;
  }

  /** Terminates a thread that is known to yield. The answer is the news `terminated`. */
  endThread(thread: Thread): void {
    this.flush();
    this.send(`-${thread.number}`);
  }

  /** The thread is no more. */
  forget(thread: Thread): void {
    thread.leave();
    this.threads.delete(thread.number);
    this.#threadsEnded += 1;
    if (this.#threadsEnded >= THREADS_ENDED_AT_MOST) this.draining = true;
  }

  kill(): void {
    this.killed = true;
    this.draining = true;
    this.#child?.kill();
  }

  send(line: string): void {
    this.#child?.send(line);
  }

  /** Sends what this thread has to be sent, together with all that comes in the same turn. */
  planFlush(thread: Thread): void {
    this.#waiting.add(thread);
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    queueMicrotask(() => this.flush());
  }

  flush(): void {
    this.#flushPlanned = false;
    for (const thread of this.#waiting) {
      const line = thread.drain();
      if (line !== null) this.send(line);
    }
    this.#waiting.clear();
  }

  #heard(text: string): void {
    const at = text.indexOf(RECORD_SEPARATOR);
    if (at !== 0) this.options.events.noise(this, at < 0 ? text : text.slice(0, at));
    if (at < 0) return;
    try {
      if (text[at + 1] === "!") {
        const news: HostNews = JSON.parse(text.slice(at + 3));
        this.options.events.news(this, news);
        return;
      }
      const space = text.indexOf(" ", at);
      const thread = this.threads.get(Number(text.slice(at + 1, space)));
      if (thread !== undefined) this.options.events.entries(thread, JSON.parse(text.slice(space + 1)));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      // Job code got in between: what was lost is unknown, so nothing here can be trusted any more.
      this.options.events.noise(this, text.slice(0, 200));
      this.#child?.kill();
    }
  }
}
