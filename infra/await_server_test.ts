import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../actors/runtime/manual_clock.ts";
import { KeptLog } from "../tests/support/quiet.ts";
import { awaitServer, placeOf, ServerError } from "./await_server.ts";

function waiting(answers: (Error | string)[], isFinal = (_: Error) => false) {
  const clock = new ManualClock();
  clock.settleWith(() => new Promise((resolve) => setTimeout(resolve, 0)));
  const log = new KeptLog();
  const awaited: (string | null)[] = [];
  const stop = new AbortController();
  const opened = awaitServer({
    name: "PostgreSQL (db:5432)",
    open: () => {
      const next = answers.shift();
      return next instanceof Error ? Promise.reject(next) : Promise.resolve(next ?? "open");
    },
    isFinal,
    waitsFor: (name) => awaited.push(name),
    signal: stop.signal,
    clock,
    log,
  });
  return { clock, log, awaited, stop, opened };
}

Deno.test("a server that is not there yet is waited for, and said so once in five seconds", async () => {
  const away = new Error("connection refused");
  const { clock, log, awaited, opened } = waiting(Array(12).fill(away));
  await clock.advance(12_000);
  assertEquals(await opened, "open");
  assertEquals(awaited.at(-1), null);
  assertEquals(log.complaints, Array(3).fill("Waiting for PostgreSQL (db:5432): connection refused"));
});

Deno.test("what waiting cannot mend ends after three tries, with a sentence", async () => {
  const wrong = new Error("password authentication failed");
  const { clock, opened } = waiting(Array(5).fill(wrong), (error) => error === wrong);
  const refused = assertRejects(() => opened, ServerError, "PostgreSQL (db:5432): password");
  await clock.advance(5000);
  await refused;
});

Deno.test("being told to stop ends the waiting at once", async () => {
  const { clock, stop, opened } = waiting(Array(5).fill(new Error("away")));
  await clock.advance(500);
  const stopped = assertRejects(() => opened, Error, "enough");
  stop.abort(new Error("enough"));
  await stopped;
});

Deno.test("the place of a server is named without its credentials", () => {
  assertEquals(placeOf("postgres://me:secret@db/x", 5432), "db:5432");
  assertEquals(placeOf("amqp://me:secret@broker:5673/", 5672), "broker:5673");
  assertEquals(placeOf("amqp://me:secret@a,b:5673/v", 5672), "a:5672,b:5673");
});
