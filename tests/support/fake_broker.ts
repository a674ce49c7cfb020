/** A broker for outbox tests, and the ways to it: it confirms at once, is away, takes nothing, or says nothing. */
import type { LogLine, Report } from "../../actors/domain/message.ts";
import { Unavailable } from "../../actors/ports/unavailable.ts";
import type { Wire } from "../../infra/outbox/outbox.ts";

interface UnderWay {
  readonly reports: readonly Report[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class FakeBroker {
  /** What has arrived, in order, repetitions included. */
  readonly reports: Report[] = [];
  readonly lines: LogLine[] = [];
  /** How many calls have brought reports. */
  calls = 0;
  #mode: "good" | "away" | "silent" | "blocked" = "good";
  #underWay: UnderWay[] = [];

  get mode(): "good" | "away" | "silent" | "blocked" {
    return this.#mode;
  }

  /** It confirms what comes, and what had come and waited for it. */
  comesBack(): void {
    this.#mode = "good";
    for (const { reports, resolve } of this.#underWay.splice(0)) {
      this.reports.push(...reports);
      resolve();
    }
  }

  /** Connections stay open, nothing is confirmed. */
  fallsSilent(): void {
    this.#mode = "silent";
  }

  /** It says that it takes nothing for now. What is under way stays so. */
  blocks(): void {
    this.#mode = "blocked";
  }

  /** Connections are lost. The first `arrived` calls under way had arrived; nobody is told which. */
  goesAway(arrived = 0): void {
    this.#mode = "away";
    this.#underWay.splice(0).forEach(({ reports, reject }, index) => {
      if (index < arrived) this.reports.push(...reports);
      reject(new Unavailable("the connection was lost"));
    });
  }

  /** A way to it of one instance. `cut` is what the death of the instance does to it. */
  wire(): Wire & { cut(): void } {
    let isCut = false;
    const isAway = () => isCut || this.#mode === "away" || this.#mode === "blocked";
    const away = () => Promise.reject(new Unavailable("the broker is away"));
    return {
      get takesReports() {
        return !isAway();
      },
      heldBack: () => ({ count: 0, ended: [] }),
      sendProgress: () => {},
      sendSignal: () => {},
      receive: () => Promise.reject(new Error("not here")),
      sendLines: (lines) => {
        if (isAway() || this.#mode === "silent") return away();
        this.lines.push(...lines);
        return Promise.resolve();
      },
      sendReports: (reports) => {
        if (isAway()) return away();
        this.calls += 1;
        if (this.#mode === "silent") {
          return new Promise((resolve, reject) => this.#underWay.push({ reports, resolve, reject }));
        }
        this.reports.push(...reports);
        return Promise.resolve();
      },
      cut: () => {
        isCut = true;
        // What was on its way may be lost: the worst that can be.
        for (const { reject } of this.#underWay.splice(0)) reject(new Unavailable("cut"));
      },
    };
  }
}
