/** What instances say to each other about live events, as JSON. Unknown fields are ignored, what is none is null. */
import type { LiveEvent, LiveEventType } from "../../actors/ports/events.ts";

/** An object, so that the compiler sees when a type is missing. */
const TYPES: Readonly<Record<LiveEventType, true>> = {
  jobChanged: true,
  jobAutoDisabled: true,
  occurrenceChanged: true,
  occurrenceProgress: true,
  occurrenceLogged: true,
  cancelRequested: true,
  retryScheduled: true,
  leaderChanged: true,
  workersChanged: true,
  failedOccurrenceChanged: true,
  bulkActionChanged: true,
  alert: true,
};

export const LIVE_EVENT_TYPES = Object.keys(TYPES) as readonly LiveEventType[];

export interface EventMessage {
  /** Instance that sent it. */
  readonly from: string;
  readonly events: readonly LiveEvent[];
  readonly listens: readonly LiveEventType[];
}

export function eventsMessage(from: string, events: readonly LiveEvent[]): string {
  return JSON.stringify({ from, events });
}

export function listensMessage(from: string, listens: readonly LiveEventType[]): string {
  return JSON.stringify({ from, listens });
}

/** Null when the text is no such message. Types that this version does not know are left out. */
export function readMessage(text: string): EventMessage | null {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(said) || typeof said["from"] !== "string") return null;
  const { from, events = [], listens = [] } = said;
  if (!Array.isArray(events) || !Array.isArray(listens)) return null;
  return {
    from,
    events: events.filter((event) => isObject(event) && isType(event["type"])),
    listens: listens.filter(isType),
  };
}

function isType(value: unknown): value is LiveEventType {
  return typeof value === "string" && Object.hasOwn(TYPES, value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
