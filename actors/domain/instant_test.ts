import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { LATEST_INSTANT, parseInstant } from "./instant.ts";

const TAKEN: readonly (readonly [text: string, at: number])[] = [
  ["2026-12-24T18:00:00Z", Date.UTC(2026, 11, 24, 18)],
  ["2026-12-24T18:00:00+01:00", Date.UTC(2026, 11, 24, 17)],
  ["2026-12-24t18:00:00.5z", Date.UTC(2026, 11, 24, 18, 0, 0, 500)],
  ["2026-12-24 18:00:00.123456789-05:30", Date.UTC(2026, 11, 24, 23, 30, 0, 123)],
  ["2026-12-24T18:00+0100", Date.UTC(2026, 11, 24, 17)],
  ["2028-02-29T00:00:00Z", Date.UTC(2028, 1, 29)],
  ["1970-01-01T00:00:00Z", 0],
  ["9999-12-31T23:59:59.999Z", LATEST_INSTANT],
];

for (const [text, at] of TAKEN) {
  Deno.test(`"${text}" is read`, () => assertEquals(parseInstant(text), { ok: true, at }));
}

const REFUSED: readonly (readonly [text: string, code: string])[] = [
  ["10000-01-01T00:00:00Z", "out_of_range"],
  ["+010000-01-01T00:00:00Z", "out_of_range"],
  ["1969-12-31T23:59:59Z", "out_of_range"],
  ["1970-01-01T00:00:00+01:00", "out_of_range"],
  ["9999-12-31T23:59:59-01:00", "out_of_range"],
  ["2026-05-01T10:00:00", "offset_required"],
  ["2026-05-01", "offset_required"],
  ["2026-02-30T00:00:00Z", "date_invalid"],
  ["2027-02-29T00:00:00Z", "date_invalid"],
  ["2026-13-01T00:00:00Z", "date_invalid"],
  ["2026-00-10T00:00:00Z", "date_invalid"],
  ["2026-05-01T24:00:00Z", "date_invalid"],
  ["2026-05-01T10:60:00Z", "date_invalid"],
  ["2026-06-30T23:59:60Z", "date_invalid"],
  ["2026-06-30T23:59:61Z", "date_invalid"],
  ["2026-05-01T10:00:00+15:00", "date_invalid"],
  ["2026-05-01T10:00:00+01:75", "date_invalid"],
  ["tomorrow", "date_invalid"],
  ["1767225600000", "date_invalid"],
  ["", "date_invalid"],
];

for (const [text, code] of REFUSED) {
  Deno.test(`B18: "${text}" is ${code}`, () => {
    const answer = parseInstant(text);
    assert(!answer.ok);
    assertEquals(answer.code, code);
  });
}

Deno.test("every moment from 1970 to 9999 is read back as it is written", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: LATEST_INSTANT }), (at) => {
    assertEquals(parseInstant(new Date(at).toISOString()), { ok: true, at });
  }));
});
