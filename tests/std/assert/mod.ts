/**
 * A local stand-in for `jsr:@std/assert`, with its names and signatures, for networks that cannot reach JSR.
 * Delete the `links` entry of deno.json to use the published package instead.
 */
import {
  AssertionError as NodeAssertionError,
  deepStrictEqual,
  notDeepStrictEqual,
} from "node:assert/strict";

/** Thrown by every assertion here. */
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

function explained(detail: string, message: string | undefined): string {
  return message === undefined ? detail : `${detail}: ${message}`;
}

/** Fails unless `expression` is truthy. */
export function assert(expression: unknown, message = ""): asserts expression {
  if (!expression) throw new AssertionError(message);
}

/** Fails unless both are deeply and strictly equal. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    if (!(error instanceof NodeAssertionError)) throw error;
    throw new AssertionError(explained(error.message, message));
  }
}

/** Fails when both are deeply and strictly equal. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  try {
    notDeepStrictEqual(actual, expected);
  } catch (error) {
    if (!(error instanceof NodeAssertionError)) throw error;
    throw new AssertionError(explained(error.message, message));
  }
}

/** Fails unless both are the same by `Object.is`. */
export function assertStrictEquals<T>(actual: unknown, expected: T, message?: string): asserts actual is T {
  if (!Object.is(actual, expected)) {
    throw new AssertionError(explained(`${Deno.inspect(actual)} is not ${Deno.inspect(expected)}`, message));
  }
}

/** Fails when the value is null or undefined. */
export function assertExists<T>(actual: T, message?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    throw new AssertionError(explained(`Expected a value, got ${actual}`, message));
  }
}

/** Fails unless `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, message?: string): void {
  if (!actual.includes(expected)) {
    throw new AssertionError(
      explained(`Expected ${Deno.inspect(actual)} to contain ${Deno.inspect(expected)}`, message),
    );
  }
}

/** Fails unless `actual` matches. */
export function assertMatch(actual: string, expected: RegExp, message?: string): void {
  if (!expected.test(actual)) {
    throw new AssertionError(explained(`Expected ${Deno.inspect(actual)} to match ${expected}`, message));
  }
}

/** Fails unless `low < high`. */
export function assertLess<T>(actual: T, expected: T, message?: string): void {
  if (!(actual < expected)) throw new AssertionError(explained(`Expected ${actual} < ${expected}`, message));
}

/** Fails unless `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, message?: string): void {
  if (!(actual <= expected)) {
    throw new AssertionError(explained(`Expected ${actual} <= ${expected}`, message));
  }
}

/** Fails unless `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, message?: string): void {
  if (!(actual > expected)) throw new AssertionError(explained(`Expected ${actual} > ${expected}`, message));
}

/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, message?: string): void {
  if (!(actual >= expected)) {
    throw new AssertionError(explained(`Expected ${actual} >= ${expected}`, message));
  }
}

// deno-lint-ignore no-explicit-any -- the published signature
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

function checkError<E extends Error>(
  error: unknown,
  errorClass: ErrorClass<E> | undefined,
  messageIncludes: string | undefined,
  message: string | undefined,
): asserts error is E {
  if (!(error instanceof Error)) {
    throw new AssertionError(explained("A value that is no Error was thrown", message));
  }
  if (errorClass !== undefined && !(error instanceof errorClass)) {
    throw new AssertionError(
      explained(`Expected ${errorClass.name}, got ${error.name}: ${error.message}`, message),
    );
  }
  if (messageIncludes !== undefined && !error.message.includes(messageIncludes)) {
    throw new AssertionError(
      explained(
        `Expected an error that says ${Deno.inspect(messageIncludes)}, got ${Deno.inspect(error.message)}`,
        message,
      ),
    );
  }
}

/** Fails unless `fn` throws (an error of the class, with the text). Gives the error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass?: ErrorClass<E>,
  messageIncludes?: string,
  message?: string,
): E {
  try {
    fn();
  } catch (error) {
    checkError(error, errorClass, messageIncludes, message);
    return error;
  }
  throw new AssertionError(explained("Expected function to throw", message));
}

/** Fails unless the promise of `fn` rejects (with an error of the class, with the text). Gives the error. */
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  messageIncludes?: string,
  message?: string,
): Promise<E> {
  try {
    await fn();
  } catch (error) {
    checkError(error, errorClass, messageIncludes, message);
    return error;
  }
  throw new AssertionError(explained("Expected function to reject", message));
}

/** Fails always. */
export function fail(message?: string): never {
  throw new AssertionError(explained("Failed assertion", message));
}
