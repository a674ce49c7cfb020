/** Processor time: that of this process, of its executor hosts, and of the whole machine. */
import os from "node:os";
import process from "node:process";
import type { CpuUse } from "../../actors/domain/bottleneck_evidence.ts";
import type { Clock } from "../../actors/ports/clock.ts";

/** What was used since some beginning. */
export interface ProcessorTimes {
  /** Of this process alone, milliseconds. */
  readonly ownMs: number;
  /** Of all processors of the machine, whoever used them; null without `--allow-sys=cpus`. */
  readonly machine: { readonly busyMs: number; readonly processors: number } | null;
}

export function processorTimes(): ProcessorTimes {
  const { user, system } = process.cpuUsage();
  return { ownMs: (user + system) / 1000, machine: machineTimes() };
}

/** Time of what runs with a lower priority is not counted: it gives way to whoever wants the processor. */
function machineTimes(): ProcessorTimes["machine"] {
  try {
    const each = os.cpus();
    const busyMs = each.reduce((sum, { times: { user, sys, irq } }) => sum + user + sys + irq, 0);
    return each.length === 0 ? null : { busyMs, processors: each.length };
  } catch {
    return null;
  }
}

/** Part of the machine's processors that was busy between two readings. */
export function machineShare(
  first: ProcessorTimes["machine"],
  last: ProcessorTimes["machine"],
  seconds: number,
): number | null {
  if (first === null || last === null || seconds <= 0) return null;
  return Math.min(1, Math.max(0, (last.busyMs - first.busyMs) / 1000 / seconds / last.processors));
}

/** A mean over so long is a use, and no moment. */
const WINDOW_MS = 10_000;
const SAMPLES_APART_MS = 1000;

interface Sample extends ProcessorTimes {
  readonly at: number;
  readonly hostsMs: number;
}

export interface ProcessorGaugeOptions {
  readonly clock: Pick<Clock, "mono">;
  /** Of all executor hosts there have been, milliseconds. */
  readonly hostsCpuMs: () => number;
  readonly times?: () => ProcessorTimes;
}

/** Use of the last ten seconds, or of the time since somebody asked, however many ask and how often. */
export class ProcessorGauge {
  readonly #samples: Sample[];
  readonly #processors = navigator.hardwareConcurrency;

  constructor(private readonly options: ProcessorGaugeOptions) {
    this.#samples = [this.#sample()];
  }

  /** Null within the first second. */
  read(): CpuUse | null {
    const now = this.#sample();
    const samples = this.#samples;
    while (now.at - (samples[1]?.at ?? Infinity) >= WINDOW_MS) samples.shift();
    const first = samples[0] ?? now;
    if (now.at - (samples.at(-1) ?? now).at >= SAMPLES_APART_MS) samples.push(now);
    const seconds = (now.at - first.at) / 1000;
    if (seconds * 1000 < SAMPLES_APART_MS) return null;
    const usedMs = now.ownMs - first.ownMs + Math.max(0, now.hostsMs - first.hostsMs);
    return {
      used: usedMs / 1000 / seconds,
      processors: this.#processors,
      machineShare: machineShare(first.machine, now.machine, seconds),
    };
  }

  #sample(): Sample {
    const { clock, hostsCpuMs, times = processorTimes } = this.options;
    return { at: clock.mono(), hostsMs: hostsCpuMs(), ...times() };
  }
}
