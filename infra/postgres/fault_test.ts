import { assert, assertEquals } from "@std/assert";
import { endsConnection, isOutage, isRefusedRow, Late, mayTryAgain, Restart, wordsOf } from "./fault.ts";

function failureOf(code: string): Error {
  return Object.assign(new Error("it failed"), { code });
}

Deno.test("what was rolled back, or may have been cut off, is tried again; what was refused is not", () => {
  for (
    const code of [
      "ECONNREFUSED",
      "ECONNRESET",
      "EPIPE",
      "57P01",
      "57P03",
      "53300",
      "25006",
      "40001",
      "40P01",
    ]
  ) {
    assert(mayTryAgain(failureOf(code)), code);
  }
  assert(mayTryAgain(new Restart()) && mayTryAgain(new Late(5)));
  for (const code of ["23505", "22P02", "42501", "42P01", "57014", "53100"]) {
    assert(!mayTryAgain(failureOf(code)), code);
  }
  assert(!mayTryAgain(new Error("a bug")));
});

Deno.test("a full disk and a passed deadline are outages, a refused row is none", () => {
  for (const code of ["53100", "57014", "ECONNRESET"]) assert(isOutage(failureOf(code)), code);
  for (const code of ["23505", "22P02", "42501"]) assert(!isOutage(failureOf(code)), code);
});

Deno.test("a connection is used again after a refused statement, not after it was cut or closed", () => {
  for (const code of ["ECONNRESET", "EPIPE", "CONNECTION_CLOSED", "CONNECT_TIMEOUT", "57P01", "53300"]) {
    assert(endsConnection(failureOf(code)), code);
  }
  for (const code of ["23505", "40P01", "57014", "25006"]) assert(!endsConnection(failureOf(code)), code);
  assert(!endsConnection(new Error("a bug")));
});

Deno.test("a refused row is told from a server that is gone, also behind another error", () => {
  assert(isRefusedRow(failureOf("23505")));
  assert(isRefusedRow(new Error("Cannot insert", { cause: failureOf("22003") })));
  assert(!isRefusedRow(failureOf("ECONNRESET")));
  assertEquals(wordsOf(failureOf("ECONNREFUSED")), "connection refused");
});
