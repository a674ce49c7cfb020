/** Moments as people write them: ISO 8601 with an offset, because a time without one is another moment elsewhere. */

/** The first moment that can be named: 1970-01-01T00:00:00Z, in epoch milliseconds. */
export const EARLIEST_INSTANT = 0;
/** 9999-12-31T23:59:59.999Z. */
export const LATEST_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** A moment in epoch milliseconds, or why the text is none. */
export type InstantAnswer =
  | { readonly ok: true; readonly at: number }
  | {
    readonly ok: false;
    readonly code: "date_invalid" | "offset_required" | "out_of_range";
    /** A sentence with the remedy. */
    readonly message: string;
  };

const FORM =
  /^([+-]?\d{4,6})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*([Zz]|[+-]\d{2}:?\d{2})?$/;

/**
 * Reads `2026-12-24T18:00:00+01:00`, `…Z`, with or without seconds and fractions (cut to milliseconds).
 * Refused: a time without an offset, a day that no calendar has (`2026-02-30`), hour 24, leap seconds (`:60`), and
 * years outside 1970 to 9999.
 */
export function parseInstant(text: string): InstantAnswer {
  const match = FORM.exec(text.trim());
  if (match === null) {
    return refuse("date_invalid", "This is no ISO 8601 time. Write it like 2026-12-24T18:00:00+01:00.");
  }
  const [, yearText = "", month = "", day = "", hour, minute, second = "00", fraction = "", offset] = match;
  const year = Number(yearText);
  if (hour === undefined || minute === undefined || offset === undefined) {
    return refuse(
      "offset_required",
      "Give date, time and offset, as in 2026-12-24T18:00:00+01:00 (or Z for UTC): without them it is another " +
        "moment in each zone.",
    );
  }
  if (second === "60") {
    return refuse("date_invalid", "Leap seconds (:60) cannot be scheduled. Take :59 or the next minute.");
  }
  if (year < 1970 || year > 9999) return outOfRange();

  const milliseconds = Number(fraction.slice(0, 3).padEnd(3, "0"));
  const local = Date.UTC(
    year,
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
    milliseconds,
  );
  // Date.UTC carries over what is too large: a day or hour that does not exist comes back as another one.
  if (
    new Date(local).toISOString().slice(0, 19) !== `${yearText}-${month}-${day}T${hour}:${minute}:${second}`
  ) {
    return refuse("date_invalid", `There is no ${yearText}-${month}-${day} ${hour}:${minute}:${second}.`);
  }
  const offsetMs = offsetOf(offset);
  if (offsetMs === null) {
    return refuse(
      "date_invalid",
      `The offset ${offset} does not exist. Offsets lie between -12:00 and +14:00.`,
    );
  }
  const at = local - offsetMs;
  return at < EARLIEST_INSTANT || at > LATEST_INSTANT ? outOfRange() : { ok: true, at };
}

/** `+05:30` → 19,800,000; null for an offset that no place has. */
function offsetOf(text: string): number | null {
  if (text === "Z" || text === "z") return 0;
  const hours = Number(text.slice(1, 3));
  const minutes = Number(text.slice(-2));
  const total = (text.startsWith("-") ? -1 : 1) * (hours * 60 + minutes);
  return minutes > 59 || total < -12 * 60 || total > 14 * 60 ? null : total * 60_000;
}

function refuse(code: "date_invalid" | "offset_required" | "out_of_range", message: string): InstantAnswer {
  return { ok: false, code, message };
}

function outOfRange(): InstantAnswer {
  return refuse("out_of_range", "The year must lie between 1970 and 9999.");
}
