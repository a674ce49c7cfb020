/**
 * The port `ReportQueue` of a worker that reaches the database: a result that is too large for a message is written
 * to the store, and the report says so in its place. A result that the store does not take travels in the report:
 * better through the broker than lost.
 */
import {
  byteLength,
  isLongerThan,
  keptResult,
  type LogLine,
  type Report,
  type SignalNotice,
} from "../actors/domain/message.ts";
import type { Results } from "../actors/ports/attempts.ts";
import type { Log } from "../actors/ports/log.ts";
import type { HeldBack, ProgressReport, ReportQueue } from "../actors/ports/queue.ts";

export interface ResultStoreOptions {
  readonly reports: ReportQueue;
  readonly results: Results;
  /** Results of more bytes are written to the store. */
  readonly inlineBytes: number;
  readonly log: Log;
}

export class ResultStore implements ReportQueue {
  constructor(private readonly options: ResultStoreOptions) {}

  sendReports(reports: readonly Report[]): Promise<void> {
    const isLarge = (report: Report) => this.#largeResult(report) !== null;
    // One by one, as they come, and without a turn in between: an outbox keeps their order.
    if (!reports.some(isLarge)) return this.options.reports.sendReports(reports);
    return this.#sendKept(reports);
  }

  heldBack(): HeldBack {
    return this.options.reports.heldBack();
  }

  sendLines(lines: readonly LogLine[]): Promise<void> {
    return this.options.reports.sendLines(lines);
  }

  sendProgress(progress: ProgressReport): void {
    this.options.reports.sendProgress(progress);
  }

  sendSignal(signal: SignalNotice): void {
    this.options.reports.sendSignal(signal);
  }

  receive(handlers: Parameters<ReportQueue["receive"]>[0]): ReturnType<ReportQueue["receive"]> {
    return this.options.reports.receive(handlers);
  }

  async #sendKept(reports: readonly Report[]): Promise<void> {
    const lighter = await Promise.all(reports.map((report) => this.#keep(report)));
    await this.options.reports.sendReports(lighter);
  }

  /** The report without its result when that is in the store. Never rejects. */
  async #keep(report: Report): Promise<Report> {
    const result = this.#largeResult(report);
    if (result === null) return report;
    try {
      if (!await this.options.results.keep(report, result)) return report;
    } catch (error) {
      this.options.log.warn("A large result travels in its report: " + (error as Error).message, {
        occurrenceId: report.occurrenceId,
      });
      return report;
    }
    const outcome = {
      kind: "completed",
      result: keptResult(byteLength(result)),
      resultIsKept: true,
    } as const;
    return { ...report, outcome };
  }

  #largeResult({ outcome }: Report): string | null {
    if (outcome.kind !== "completed" || outcome.result === null || outcome.resultIsKept === true) return null;
    return isLongerThan(outcome.result, this.options.inlineBytes) ? outcome.result : null;
  }
}
