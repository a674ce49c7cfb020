import { assertEquals } from "@std/assert";
import { hasColors, writeText } from "./terminal.ts";

Deno.test("a text is written to its end, even by a stream that takes a few bytes at a time", () => {
  const written: number[] = [];
  const stream = {
    isTerminal: () => false,
    writeSync: (bytes: Uint8Array) => {
      written.push(...bytes.subarray(0, 3));
      return Math.min(3, bytes.length);
    },
  };
  writeText(stream, "Grüße\n");
  assertEquals(new TextDecoder().decode(new Uint8Array(written)), "Grüße\n");
});

Deno.test("colours are only for terminals that know them, and never with NO_COLOR", () => {
  const stream = (isTerminal: boolean) => ({ isTerminal: () => isTerminal, writeSync: () => 0 });
  assertEquals(hasColors(stream(true), {}), true);
  assertEquals(hasColors(stream(true), { NO_COLOR: "" }), true);
  assertEquals(hasColors(stream(true), { NO_COLOR: "1" }), false);
  assertEquals(hasColors(stream(true), { TERM: "dumb" }), false);
  assertEquals(hasColors(stream(false), {}), false);
});
