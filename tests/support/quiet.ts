/** A log and a meter that keep what they are told, for tests to read. */
import type { Log, LogFields, LogLevel } from "../../actors/ports/log.ts";
import type { CounterName, Meter } from "../../actors/ports/meter.ts";

export class KeptLog implements Log {
  readonly lines: { readonly level: LogLevel; readonly message: string; readonly fields: LogFields }[];

  constructor(private readonly fields: LogFields = {}, lines: KeptLog["lines"] = []) {
    this.lines = lines;
  }

  debug(message: string, fields?: LogFields): void {
    this.#keep("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#keep("info", message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#keep("warn", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#keep("error", message, fields);
  }
  with(fields: LogFields): Log {
    return new KeptLog({ ...this.fields, ...fields }, this.lines);
  }

  /** Warnings and errors, as text. */
  get complaints(): string[] {
    return this.lines.filter((one) => one.level === "warn" || one.level === "error").map((one) =>
      one.message
    );
  }

  #keep(level: LogLevel, message: string, fields: LogFields = {}): void {
    this.lines.push({ level, message, fields: { ...this.fields, ...fields } });
  }
}

export class KeptMeter implements Meter {
  readonly counted = new Map<CounterName, number>();

  count(name: CounterName, amount = 1): void {
    this.counted.set(name, (this.counted.get(name) ?? 0) + amount);
  }

  observe(): void {}
}
