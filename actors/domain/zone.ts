/**
 * Time zones: the stretches of one constant offset that a zone's time line consists of. Where one ends and the next
 * begins the clocks change; there lie the gaps and folds that the schedule's rules speak of. Zone data is the
 * runtime's (`Temporal` over ICU).
 */
import { nearestNames } from "./nearest.ts";
import { type Problem, shown } from "./problem.ts";

/** A stretch of time in which a zone's offset does not change. All in milliseconds; local time = time + offset. */
export interface ZonePeriod {
  /** The first moment inside, −Infinity for the first stretch. */
  readonly start: number;
  /** The first moment after it, Infinity for the last stretch. */
  readonly end: number;
  readonly offset: number;
  /**
   * The offset of the stretch before. Smaller: local times from `start + offsetBefore` up to `start + offset` do not
   * exist (gap). Larger: those from `start + offset` up to `start + offsetBefore` come a second time (fold).
   */
  readonly offsetBefore: number;
}

/** The zone of schedules that name none. */
export const DEFAULT_TIME_ZONE = "UTC";

/** The last stretch asked for, by zone: consecutive questions nearly always fall into the same one. */
const lastPeriods = new Map<string, ZonePeriod>();

/** The stretch that a moment (epoch milliseconds) lies in. Throws RangeError when the zone does not exist. */
export function periodAt(zone: string, at: number): ZonePeriod {
  const last = lastPeriods.get(zone);
  if (last !== undefined && last.start <= at && at < last.end) return last;
  const moment = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone);
  // "previous" is strictly earlier, so ask from the next millisecond: `at` itself may be the change.
  const start = moment.add({ milliseconds: 1 }).getTimeZoneTransition("previous");
  const end = moment.getTimeZoneTransition("next");
  const offset = moment.offsetNanoseconds / 1e6;
  const period = {
    start: start === null ? -Infinity : start.epochMilliseconds,
    end: end === null ? Infinity : end.epochMilliseconds,
    offset,
    offsetBefore: start === null ? offset : start.subtract({ milliseconds: 1 }).offsetNanoseconds / 1e6,
  };
  lastPeriods.set(zone, period);
  return period;
}

/** `2026-03-29T03:00:00`: the local time of a moment. */
export function localTime(zone: string, at: number): string {
  const moment = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone);
  return moment.toPlainDateTime().toString({ smallestUnit: "second" });
}

/** `+02:00`: the zone's offset at a moment. */
export function offsetText(zone: string, at: number): string {
  return Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone).offset;
}

/** Shown when nothing is near what was given. */
const EXAMPLES = ["UTC", "Europe/Berlin", "America/New_York"];

const ZONE_NAME = /^[A-Za-z][A-Za-z0-9._+/-]{0,63}$/;
const FIXED_OFFSET = /^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?$/i;

/**
 * The zone's name in its usual spelling (`europe/berlin` → `Europe/Berlin`), or what is wrong with it. Every IANA
 * name is taken, old ones (`EST5EDT`, `US/Eastern`) included; fixed offsets are refused with the zone to take.
 */
export function parseTimeZone(
  given: string,
): { readonly ok: true; readonly zone: string } | { readonly ok: false; readonly problem: Problem } {
  const offset = FIXED_OFFSET.exec(given.trim());
  if (offset !== null) return { ok: false, problem: offsetProblem(given, offset) };
  const zone = zoneNamed(given);
  if (zone !== null) return { ok: true, zone };
  const near = nearestZones(given);
  const isNear = near.length > 0;
  const remedy = isNear ? `Did you mean ${near.join(" or ")}?` : `Take an IANA name: ${EXAMPLES.join(", ")}.`;
  const message = `There is no time zone "${shown(given)}". ${remedy}`;
  return { ok: false, problem: zoneProblem(given, message, isNear ? near : EXAMPLES) };
}

function zoneNamed(given: string): string | null {
  // Temporal would also read the zone out of a whole date; only a name is one here.
  if (!ZONE_NAME.test(given)) return null;
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(given).timeZoneId;
  } catch {
    return null;
  }
}

/** The sign of `Etc/GMT±n` is the other way round: `Etc/GMT-3` is three hours ahead of UTC. */
function offsetProblem(given: string, offset: RegExpExecArray): Problem {
  const [, sign, hoursText = "", minutes = "00"] = offset;
  const hours = Number(hoursText);
  const isNamed = minutes === "00" && (sign === "+" ? hours <= 14 : hours <= 12);
  const name = hours === 0 ? "Etc/UTC" : `Etc/GMT${sign === "+" ? "-" : "+"}${hours}`;
  const remedy = isNamed
    ? `Take ${name} (its sign is the other way round), or a place such as Europe/Berlin, whose offset follows its law.`
    : "Take the place it belongs to, e.g. Asia/Kolkata.";
  const message = `${shown(given)} is an offset, not a zone. ${remedy}`;
  return zoneProblem(given, message, isNamed ? [name] : []);
}

/** A slip may be in the place alone (`Europe/Berln`), or the area may be missing (`Berlin`). */
function nearestZones(given: string): readonly string[] {
  const known = Intl.supportedValuesOf("timeZone");
  const near = nearestNames(given, known);
  if (near.length > 0) return near;
  const place = given.slice(given.lastIndexOf("/") + 1);
  const byPlace = new Map(known.map((zone) => [zone.slice(zone.lastIndexOf("/") + 1), zone]));
  return nearestNames(place, byPlace.keys()).map((name) => byPlace.get(name) ?? name);
}

function zoneProblem(given: string, message: string, allowed: readonly string[]): Problem {
  return { field: "timeZone", code: "zone_unknown", message, given: shown(given), allowed };
}
