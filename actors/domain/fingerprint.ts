/**
 * Fingerprints: errors that are the same fault have the same one. What changes from run to run (numbers, ids, what
 * stands in quotes, line numbers) is taken out of the message and of the first stack frame of the job's own code; the
 * rest is hashed. Stable over processes, machines and versions of this program: they are stored and filtered by.
 */
import type { ErrorReport } from "./occurrence.ts";

/** Characters of a message that count. */
const MESSAGE_AT_MOST = 2000;
/** Lines of a stack that are looked at. */
const FRAMES_AT_MOST = 50;

const QUOTED = /(?<!\w)(["'`])[^"'`\n]{0,500}\1(?!\w)/g;
const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi;
const HEX = /\b(?:0x[0-9a-f]+|(?=[a-f]*\d)[0-9a-f]{8,})\b/gi;
const NUMBER = /\d+(?:[.,]\d+)*/g;

/** Code that is not the job's: of the runtime, of packages, of nobody. */
const FOREIGN = /node_modules|^(?:ext|node|deno|npm|jsr|https?):|<anonymous>|^native\b/;

/** The fingerprint of an error: 16 hexadecimal digits. */
export function fingerprintOf(error: Pick<ErrorReport, "name" | "message" | "stack">): string {
  return hash(`${error.name}\n${normalized(error.message)}\n${ownFrame(error.stack) ?? ""}`);
}

/** A message without what changes from run to run. */
export function normalized(message: string): string {
  return message.slice(0, MESSAGE_AT_MOST)
    .replace(QUOTED, "$1…$1")
    .replace(UUID, "#")
    .replace(HEX, "#")
    .replace(NUMBER, "#")
    .replace(/\s+/g, " ").trim();
}

/** The first frame of the job's own code, `function@file.ts` without lines and folders; null when there is none. */
export function ownFrame(stack: string | null): string | null {
  if (stack === null) return null;
  for (const line of stack.split("\n", FRAMES_AT_MOST)) {
    const [, text] = /^\s*at (?:async )?(.+)$/.exec(line) ?? [];
    if (text === undefined) continue;
    const [, name = "", inBrackets] = /^(.*?) \((.*)\)$/.exec(text) ?? [];
    const place = inBrackets ?? text;
    if (FOREIGN.test(place)) continue;
    const path = place.replace(/(?::\d+){1,2}$/, "").replace(/[?#].*$/, "");
    return `${name}@${path.slice(path.lastIndexOf("/") + 1)}`;
  }
  return null;
}

/** 64 bits of a text, as two interleaved multiplicative hashes with a final mix. No secret is kept by it. */
function hash(text: string): string {
  let left = 0xdeadbeef;
  let right = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    left = Math.imul(left ^ code, 2654435761);
    right = Math.imul(right ^ code, 1597334677);
  }
  const mixed = (one: number, other: number) =>
    (Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(other ^ (other >>> 13), 3266489909)) >>> 0;
  return [mixed(left, right), mixed(right, left)].map((part) => part.toString(16).padStart(8, "0")).join("");
}
