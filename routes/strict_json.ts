/**
 * JSON read strictly: RFC 8259 and nothing else, with what `JSON.parse` lets through refused: keys given twice,
 * numbers that would silently become others, keys that every JavaScript object inherits, and documents made to
 * exhaust whoever reads them. One pass, no recursion deeper than `MAX_DEPTH`.
 */
import type { Json } from "../actors/domain/job_type.ts";

/** How deeply arrays and objects may be nested. */
export const MAX_DEPTH = 64;

/** Why a text was refused. */
export class JsonFault extends Error {
  constructor(
    readonly code:
      | "json_invalid"
      | "json_duplicate_key"
      | "too_deep"
      | "too_many_items"
      | "key_forbidden"
      | "character_forbidden"
      | "out_of_range",
    message: string,
    /** Where in the text, UTF-16 code units from its start. */
    readonly offset: number,
    /** Where in the document: keys and indexes from the root. */
    readonly path: readonly (string | number)[],
  ) {
    super(message);
    this.name = "JsonFault";
  }
}

/** Line and column of an offset, both from 1. */
export function position(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  let line = 1;
  for (let at = before.indexOf("\n"); at !== -1; at = before.indexOf("\n", at + 1)) line++;
  return { line, column: offset - lineStart + 1 };
}

/** Reads one JSON document. `maxItems` bounds keys and array items together. Throws JsonFault. */
export function parseStrictJson(text: string, maxItems: number): Json {
  return new Reader(text, maxItems).document();
}

/** What every object inherits, so that no key can be taken for it. */
const FORBIDDEN_KEYS = new Set(["prototype", ...Object.getOwnPropertyNames(Object.prototype)]);

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORDS: readonly (readonly [text: string, value: Json])[] = [["true", true], ["false", false], [
  "null",
  null,
]];

const TAB = 9,
  LINE_FEED = 10,
  RETURN = 13,
  SPACE = 32,
  QUOTE = 34,
  COMMA = 44,
  MINUS = 45,
  ZERO = 48,
  NINE = 57;
const COLON = 58, OPEN_ARRAY = 91, BACKSLASH = 92, CLOSE_ARRAY = 93, OPEN_OBJECT = 123, CLOSE_OBJECT = 125;

class Reader {
  #at = 0;
  #items = 0;
  readonly #path: (string | number)[] = [];

  constructor(readonly text: string, readonly maxItems: number) {}

  document(): Json {
    this.#skipSpace();
    if (this.#at === this.text.length) throw this.#invalid("there is nothing in it");
    const value = this.#value();
    this.#skipSpace();
    if (this.#at < this.text.length) throw this.#invalid("there is more after the end of the document");
    return value;
  }

  #value(): Json {
    const code = this.text.charCodeAt(this.#at);
    if (code === QUOTE) return this.#string();
    if (code === OPEN_OBJECT) return this.#object();
    if (code === OPEN_ARRAY) return this.#array();
    if (code === MINUS || (code >= ZERO && code <= NINE)) return this.#number();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    throw this.#invalid("a value is expected here");
  }

  #object(): Json {
    const object: Record<string, Json> = {};
    this.#enter();
    if (this.#take(CLOSE_OBJECT)) return object;
    do {
      this.#skipSpace();
      const keyAt = this.#at;
      if (this.text.charCodeAt(keyAt) !== QUOTE) {
        throw this.#invalid("a key in double quotes is expected here");
      }
      const key = this.#string();
      this.#path.push(key);
      if (FORBIDDEN_KEYS.has(key)) {
        throw this.#fault(
          "key_forbidden",
          `The key ${key} is refused: JavaScript objects inherit it.`,
          keyAt,
        );
      }
      if (Object.hasOwn(object, key)) {
        throw this.#fault(
          "json_duplicate_key",
          `The key ${JSON.stringify(key)} stands here for the second time`,
          keyAt,
        );
      }
      if (!this.#take(COLON)) throw this.#invalid("a colon is expected here");
      this.#skipSpace();
      this.#count();
      object[key] = this.#value();
      this.#path.pop();
    } while (this.#take(COMMA));
    if (!this.#take(CLOSE_OBJECT)) throw this.#invalid("a comma or } is expected here");
    return object;
  }

  #array(): Json {
    const array: Json[] = [];
    this.#enter();
    if (this.#take(CLOSE_ARRAY)) return array;
    do {
      this.#skipSpace();
      this.#count();
      this.#path.push(array.length);
      array.push(this.#value());
      this.#path.pop();
    } while (this.#take(COMMA));
    if (!this.#take(CLOSE_ARRAY)) throw this.#invalid("a comma or ] is expected here");
    return array;
  }

  #enter(): void {
    // The path grows by one with each level that has content.
    if (this.#path.length >= MAX_DEPTH) {
      throw this.#fault("too_deep", `The document is nested more than ${MAX_DEPTH} levels deep.`, this.#at);
    }
    this.#at++;
  }

  #count(): void {
    if (++this.#items <= this.maxItems) return;
    throw this.#fault(
      "too_many_items",
      `The document has more than ${this.maxItems} keys and items.`,
      this.#at,
    );
  }

  #string(): string {
    const start = this.#at;
    let hasEscapes = false;
    let at = start + 1;
    for (;; at++) {
      const code = this.text.charCodeAt(at);
      if (code === QUOTE) break;
      if (code === BACKSLASH) {
        hasEscapes = true;
        at++;
      } else if (!(code >= SPACE)) {
        this.#at = Math.min(at, this.text.length);
        throw this.#invalid(
          at >= this.text.length ? "a string does not end" : "control characters need an escape",
        );
      }
    }
    this.#at = at + 1;
    return hasEscapes ? this.#unescaped(start) : this.text.slice(start + 1, at);
  }

  #unescaped(start: number): string {
    let value: string;
    try {
      value = JSON.parse(this.text.slice(start, this.#at));
    } catch {
      this.#at = start;
      throw this.#invalid("a string has an escape that does not exist");
    }
    // Databases refuse the first, and the second cannot be written in UTF-8.
    if (value.includes("\0")) {
      throw this.#fault("character_forbidden", "Texts must not hold NUL (\\u0000).", start);
    }
    if (!value.isWellFormed()) {
      throw this.#fault("character_forbidden", "Texts must not hold half of a surrogate pair.", start);
    }
    return value;
  }

  #number(): number {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.text);
    if (match === null) throw this.#invalid("this is no number");
    const [written] = match;
    const value = Number(written);
    // Only what is written as an integer claims to be exact.
    const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(written);
    if (!Number.isFinite(value) || isRounded) {
      const shown = written.length > 40 ? `${written.slice(0, 40)}…` : written;
      const message =
        `${shown} cannot be kept exactly. Integers lie within ±9007199254740991 (2^53 − 1), other numbers ` +
        "within ±1.79e308; longer ones go into a text.";
      throw this.#fault("out_of_range", message, this.#at);
    }
    this.#at += written.length;
    return value;
  }

  #take(code: number): boolean {
    this.#skipSpace();
    if (this.text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    for (;; this.#at++) {
      const code = this.text.charCodeAt(this.#at);
      if (code !== SPACE && code !== LINE_FEED && code !== RETURN && code !== TAB) return;
    }
  }

  #invalid(what: string): JsonFault {
    return this.#fault("json_invalid", what, this.#at);
  }

  #fault(code: JsonFault["code"], message: string, offset: number): JsonFault {
    return new JsonFault(code, message, offset, [...this.#path]);
  }
}
