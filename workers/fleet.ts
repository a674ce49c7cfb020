/** The executor hosts of a worker: which thread lies in which host, and when idle ones end. */
import type { Clock } from "../actors/ports/clock.ts";
import { Child } from "./child.ts";
import { Executor, type ExecutorEvents } from "./executor.ts";
import type { JobType } from "./job_types.ts";
import { type Launch, SOURCE_FOLDERS } from "./launch.ts";
import { hostFlags } from "./permissions.ts";
import type { Thread } from "./thread.ts";

export interface FleetOptions {
  readonly launch: Launch;
  readonly clock: Clock;
  readonly heapLimitMb: number;
  readonly hostMemoryLimitMb: number;
  /** Bytes of UTF-8 of the largest result that is kept whole. */
  readonly maxResultBytes: number;
  /** A host that hears nothing of this process for so long ends itself, milliseconds; 0 never. */
  readonly parentSilenceMs: number;
  /** An idle thread ends after so many milliseconds; the last one of a type lives ten times as long. */
  readonly idleMs: number;
  readonly events: ExecutorEvents;
  /** A thread did not load its job file in time. */
  lateThread(thread: Thread): void;
  idleThread(thread: Thread): void;
}

/** Package downloads of a job file count, too. */
const LOAD_WITHIN_MS = 60_000;
const LAST_OF_TYPE = 10;
/** A sign of life is sent so many times within the silence that hosts bear. */
const SIGNS_A_SILENCE = 5;
/** A line that means nothing: this process lives. */
const SIGN_OF_LIFE = ".";

export class Fleet {
  readonly executors = new Set<Executor>();
  readonly #loading = new Map<Thread, () => void>();
  #lastThread = 0;
  #stopped = false;
  #cancelSweep: (() => void) | null = null;
  #cancelSign: (() => void) | null = null;

  constructor(private readonly options: FleetOptions) {}

  /** A new thread for this type: in a host with room, else in a new one. Throws when no host can be started. */
  startThread(type: JobType, capacity: number): Thread {
    const found = [...this.executors].find((one) => one.hostKey === type.hostKey && one.hasRoom);
    return this.#startIn(found ?? this.#startHost(type, false), type, capacity);
  }

  /** A new thread for one attempt in a new host. Throws when it cannot be started. */
  startAlone(type: JobType): Thread {
    return this.#startIn(this.#startHost(type, true), type, 1);
  }

  ready(thread: Thread): void {
    this.#loading.get(thread)?.();
    this.#loading.delete(thread);
    thread.ready = true;
    if (!this.#stopped) this.#planSweep();
  }

  /** The thread is no more. A host without threads ends. */
  forget(thread: Thread): void {
    const { executor } = thread;
    this.#loading.get(thread)?.();
    this.#loading.delete(thread);
    executor.forget(thread);
    if (executor.threads.size === 0) executor.kill();
  }

  /** The process is gone. */
  remove(executor: Executor): void {
    this.executors.delete(executor);
    for (const thread of executor.threads.values()) {
      this.#loading.get(thread)?.();
      this.#loading.delete(thread);
    }
  }

  /** Kills every host and waits until they are gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelSweep?.();
    this.#cancelSign?.();
    const all = [...this.executors];
    for (const executor of all) executor.kill();
    await Promise.all(all.map((executor) => executor.gone));
  }

  #startHost(type: JobType, alone: boolean): Executor {
    const { launch, heapLimitMb, hostMemoryLimitMb, maxResultBytes, parentSilenceMs, events } = this.options;
    const executor = new Executor(type.hostKey, alone, { events, maxResultBytes });
    const command = launch({
      module: "host",
      flags: [
        ...hostFlags(type.grants, [...SOURCE_FOLDERS, type.folder]),
        `--v8-flags=--max-old-space-size=${heapLimitMb}`,
      ],
      args: [String(hostMemoryLimitMb * 1024 * 1024), String(parentSilenceMs)],
    });
    executor.start((childEvents) => new Child(command, type.grants.env, childEvents));
    this.executors.add(executor);
    this.#planSign();
    return executor;
  }

  #startIn(executor: Executor, type: JobType, capacity: number): Thread {
    const { clock, lateThread } = this.options;
    const thread = executor.startThread(++this.#lastThread, type, capacity, clock.mono());
    this.#loading.set(thread, clock.timer(LOAD_WITHIN_MS, () => lateThread(thread)));
    return thread;
  }

  /** While there are hosts. */
  #planSign(): void {
    const { clock, parentSilenceMs } = this.options;
    if (parentSilenceMs === 0 || this.#stopped) return;
    this.#cancelSign ??= clock.timer(parentSilenceMs / SIGNS_A_SILENCE, () => {
      this.#cancelSign = null;
      for (const executor of this.executors) executor.send(SIGN_OF_LIFE);
      if (this.executors.size > 0) this.#planSign();
    });
  }

  #planSweep(): void {
    this.#cancelSweep ??= this.options.clock.timer(this.options.idleMs / 4, () => {
      this.#cancelSweep = null;
      this.#sweep();
      if (this.executors.size > 0) this.#planSweep();
    });
  }

  #sweep(): void {
    const { clock, idleMs, idleThread } = this.options;
    const threads = [...this.executors].filter((one) => !one.alone).flatMap((
      one,
    ) => [...one.threads.values()]);
    const left = new Map<string, number>();
    for (const { type } of threads) left.set(type.offer.name, (left.get(type.offer.name) ?? 0) + 1);
    for (const thread of threads) {
      if (!thread.ready || thread.draining || thread.attempts.size > 0) continue;
      const { name } = thread.type.offer;
      const others = (left.get(name) ?? 1) - 1;
      const idle = clock.mono() - thread.idleSince;
      if (idle < (others > 0 ? idleMs : idleMs * LAST_OF_TYPE)) continue;
      left.set(name, others);
      idleThread(thread);
    }
  }
}
