/**
 * The executor host: a child process that holds Web Workers. Job code never runs in its main thread, so it always
 * hears its parent: whatever its guests do, it hands lines on, watches memory, and ends when stdin ends. So no host
 * outlives its parent, not even one whose guests spin. A parent that is frozen cannot end what it runs before its
 * leases do; so a host that hears nothing for a while ends itself.
 *
 * It decides nothing. The pool says which thread to start, feed, abort and terminate.
 */
import { linesOf } from "./lines.ts";
import {
  type AbortCode,
  Cells,
  GUEST_READY,
  type GuestSpec,
  type HostNews,
  type MOVED,
  RECORD_SEPARATOR,
} from "./protocol.ts";

interface Thread {
  readonly worker: Worker;
  readonly cells: Cells;
  /** Attempts in its cells that the pool knows to have started. */
  readonly known: Int32Array;
  /** Messages it has not answered. While there are some, the shared memory is watched. */
  unanswered: number;
  /** The pool knows that it does not answer. */
  silenceTold: boolean;
}

const WATCH_MS = 10;
const WATCH_AT_MOST_MS = 250;
const MEMORY_WATCH_MS = 250;
const CPU_WATCH_MS = 1000;
/** Processor time worth a line. */
const CPU_TOLD_MS = 100;
/** Silence is counted in so many ticks: one that was frozen together with its parent counts one, not the whole time. */
const SILENT_TICKS = 8;
/** How long saying why may hold up the end: the pipe to a frozen parent may be full. */
const LAST_WORDS_MS = 100;

export interface HostLimits {
  /** Resident memory in bytes; 0 for none. */
  readonly memoryBytes: number;
  /** How long the parent may say nothing, milliseconds; 0 for ever. */
  readonly parentSilenceMs: number;
}

/** Runs the host until stdin ends. Does not return. */
export async function runHost({ memoryBytes, parentSilenceMs }: HostLimits): Promise<never> {
  const threads = new Map<number, Thread>();
  const output = new Output();
  let watching = false;
  let silentTicks = 0;
  let residentTold = 0;
  let cpuToldMs = 0;

  // A Ctrl-C reaches the whole process group; the parent decides when its hosts end.
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => {});
  if (memoryBytes > 0) setInterval(watchMemory, MEMORY_WATCH_MS);
  setInterval(watchCpu, CPU_WATCH_MS);
  if (parentSilenceMs > 0) setInterval(watchParent, parentSilenceMs / SILENT_TICKS);

  for await (const line of linesOf(Deno.stdin.readable)) {
    silentTicks = 0;
    obey(line);
  }
  return die();

  function obey(line: string): void {
    const space = line.indexOf(" ");
    const end = space < 0 ? line.length : space;
    const number = Number(line.slice(1, end));
    const rest = line.slice(end + 1);
    if (line[0] === "+") {
      startThread(number, JSON.parse(rest));
      return;
    }
    const thread = threads.get(number);
    if (thread === undefined) return;
    if (line[0] === ">") {
      thread.worker.postMessage(rest);
      expectAnswer(thread);
    } else if (line[0] === "x" || line[0] === "m") {
      flag(number, thread, rest);
    } else if (line[0] === "-") {
      thread.worker.terminate();
      threads.delete(number);
      tell(["terminated", number]);
    }
  }

  function startThread(number: number, spec: GuestSpec): void {
    const source = `import { serve } from ${JSON.stringify(import.meta.resolve("./entry.ts"))};\n` +
      `import job from ${JSON.stringify(spec.file)};\nserve(job, ${Number(spec.maxResultBytes)});\n`;
    // The job file is imported by the main module, so it loads without read permission for the guest.
    const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, {
      type: "module",
      name: spec.jobType,
      deno: { permissions: spec.permissions },
    });
    const thread = {
      worker,
      cells: Cells.of(spec.cells),
      known: new Int32Array(spec.cells),
      unanswered: 0,
      silenceTold: false,
    };
    threads.set(number, thread);
    worker.onmessage = (event: MessageEvent) => {
      thread.unanswered = 0;
      thread.silenceTold = false;
      if (event.data === GUEST_READY) {
        worker.postMessage(thread.cells.memory);
        tell(["ready", number]);
      } else if (typeof event.data === "string") output.write(`${number} ${event.data}`);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      threads.delete(number);
      tell(["dead", number, event.message]);
    };
  }

  function flag(number: number, thread: Thread, rest: string): void {
    const [cell, id, code, ...item] = rest.split(" ");
    if (!thread.cells.flag(Number(cell), Number(id), code as AbortCode | typeof MOVED)) {
      tell(["revoked", number, Number(id)]);
    }
    if (item.length === 0) return;
    thread.worker.postMessage(`[${item.join(" ")}]`);
    expectAnswer(thread);
  }

  /** A guest that spins cannot say what it has started: then its memory is looked at, less and less often. */
  function expectAnswer(thread: Thread): void {
    thread.unanswered += 1;
    if (watching) return;
    watching = true;
    setTimeout(watch, WATCH_MS, WATCH_MS);
  }

  function watch(delay: number): void {
    let news = false;
    watching = false;
    for (const [number, thread] of threads) {
      if (thread.unanswered === 0) continue;
      watching = true;
      const ids: number[] = [];
      for (let cell = 0; cell < thread.known.length; cell++) {
        const id = thread.cells.running(cell);
        if (id === 0 || thread.known[cell] === id) continue;
        thread.known[cell] = id;
        ids.push(id);
      }
      if (ids.length === 0 && thread.silenceTold) continue;
      thread.silenceTold = true;
      news = true;
      tell(["started", number, ids, Date.now()]);
    }
    if (!watching) return;
    const next = news ? WATCH_MS : Math.min(delay * 2, WATCH_AT_MOST_MS);
    setTimeout(watch, next, next);
  }

  async function watchCpu(): Promise<void> {
    // Loading it takes 20 ms: a host that is new has better to do, and one that is soon gone never does it.
    const { cpuUsage } = await import("node:process");
    const { user, system } = cpuUsage();
    const cpuMs = Math.round((user + system) / 1000);
    if (cpuMs - cpuToldMs >= CPU_TOLD_MS) {
      cpuToldMs = cpuMs;
      tell(["processor", cpuMs]);
    }
  }

  function watchMemory(): void {
    const bytes = threads.size === 0 ? 0 : Deno.memoryUsage().rss;
    if (Math.abs(bytes - residentTold) > residentTold / 16) {
      residentTold = bytes;
      tell(["resident", bytes]);
    }
    if (bytes <= memoryBytes) return;
    tell(["memory", bytes]);
    output.finish().then(die);
  }

  function watchParent(): void {
    silentTicks += 1;
    if (silentTicks <= SILENT_TICKS) return;
    tell(["silence"]);
    setTimeout(die, LAST_WORDS_MS);
    output.finish().then(die);
  }

  function tell(news: HostNews): void {
    output.write(`! ${JSON.stringify(news)}`);
  }
}

/** Lines to the pool, one write for all that came while the write before was under way. */
class Output {
  #pending: string[] = [];
  #writing: Promise<void> | null = null;

  write(line: string): void {
    this.#pending.push(line);
    this.#writing ??= this.#drain();
  }

  async finish(): Promise<void> {
    await this.#writing;
  }

  async #drain(): Promise<void> {
    const encoder = new TextEncoder();
    while (this.#pending.length > 0) {
      const text = RECORD_SEPARATOR + this.#pending.join("\n" + RECORD_SEPARATOR) + "\n";
      this.#pending = [];
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
    }
    this.#writing = null;
  }
}

/** At once, and whatever the guests do: `Deno.exit` would wait for nothing either, but this cannot be caught. */
function die(): never {
  Deno.kill(Deno.pid, "SIGKILL");
  throw new Error("A killed process runs no further");
}

/** As the fleet passes them on the command line. */
export function hostLimits([memoryBytes = "0", parentSilenceMs = "0"]: readonly string[]): HostLimits {
  return { memoryBytes: Number(memoryBytes), parentSilenceMs: Number(parentSilenceMs) };
}

if (import.meta.main) await runHost(hostLimits(Deno.args));
