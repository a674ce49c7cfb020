import { assertEquals, assertGreater } from "@std/assert";
import { realScheduler } from "./scheduler.ts";

Deno.test("what is scheduled runs in order, after every promise that was ready to settle", async () => {
  const seen: string[] = [];
  await new Promise<void>((resolve) => {
    realScheduler.schedule(() => seen.push("first"));
    realScheduler.schedule(() => {
      seen.push("second");
      resolve();
    });
    (async () => {
      for (let hop = 0; hop < 50; hop++) await null;
      seen.push("promises");
    })();
    seen.push("caller");
  });
  assertEquals(seen, ["caller", "promises", "first", "second"]);
});

Deno.test("rounds that schedule the next one forever hold up neither timers nor sockets", async () => {
  let rounds = 0;
  let over = false;
  const round = () => {
    rounds++;
    if (!over) realScheduler.schedule(round);
  };
  round();
  await new Promise<void>((resolve) => setTimeout(resolve, 5));
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const [server, client] = await Promise.all([
    listener.accept(),
    Deno.connect({ port: listener.addr.port, hostname: "127.0.0.1" }),
  ]);
  await client.write(new Uint8Array([7]));
  const buffer = new Uint8Array(1);
  await server.read(buffer);
  over = true;
  for (const resource of [server, client, listener]) resource.close();
  assertEquals(buffer[0], 7);
  assertGreater(rounds, 10);
  await new Promise<void>((resolve) => realScheduler.schedule(resolve));
});
