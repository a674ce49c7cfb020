/**
 * Values as PostgreSQL reads them. A batch is bound as one array a column, written here as array literals: cheaper
 * than a parameter a value, and the statement's text stays the same for each batch size.
 */

/** A value that can be bound to a statement. */
export type Bindable = string | number | boolean | null;

/** Text that PostgreSQL takes: it cannot store U+0000, which becomes the replacement character. */
export function storable(text: string): string {
  return text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
}

/** `'{1,NULL,2.5}'`, for `bigint[]`, `integer[]` or `float8[]`. */
export function numbers(values: readonly (number | null)[]): string {
  let text = "{";
  for (let index = 0; index < values.length; index++) {
    if (index > 0) text += ",";
    text += values[index] ?? "NULL";
  }
  return text + "}";
}

/** For `boolean[]`. */
export function booleans(values: readonly boolean[]): string {
  return `{${values.map((value) => value ? "t" : "f").join(",")}}`;
}

/** For `uuid[]`; each must have passed `isUuid`. */
export function uuids(values: readonly (string | null)[]): string {
  return `{${values.map((value) => value ?? "NULL").join(",")}}`;
}

/** For `text[]`. */
export function texts(values: readonly (string | null)[]): string {
  return `{${values.map(quoted).join(",")}}`;
}

function quoted(value: string | null): string {
  return value === null ? "NULL" : `"${storable(value).replace(/["\\]/g, "\\$&")}"`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** False for text that no row can have as its id; asking PostgreSQL for it would be an error. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/** SQL that reads a time column as epoch milliseconds (float8; `asTime` rounds off what the division left). */
export function millis(column: string): string {
  return `(date_part('epoch', ${column}) * 1000)`;
}

/**
 * SQL that makes a time of epoch milliseconds (float8). PostgreSQL counts microseconds, and the product is rounded to
 * one, so that milliseconds come back exactly for every year up to 9999 (tested).
 */
export function time(expression: string): string {
  return `to_timestamp(${expression} / 1000)`;
}

/** A time that `millis` read. */
export function asTime(value: unknown): number {
  return Math.round(Number(value));
}

/** A nullable time that `millis` read. */
export function asTimeOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : asTime(value);
}

/** A nullable number of a row. */
export function asNumber(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}

/** A nullable text of a row. */
export function asText(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
