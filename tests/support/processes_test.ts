import { assertEquals } from "@std/assert";
import { allGone, familyOf, shell, signalAll } from "./processes.ts";
import { serverTest } from "./servers.ts";

serverTest([], "a family is a process and all that descend from it; signals reach each", async () => {
  const child = new Deno.Command("sh", {
    args: ["-c", 'sh -c "sleep 600 & echo ready; wait" & wait'],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const family = await familyOf(child.pid);
  assertEquals(family.length, 3);
  assertEquals(family[0], child.pid);
  await signalAll(family, "STOP");
  const states = await shell(
    "for pid in \"$@\"; do sed 's/.*) //; s/ .*//' /proc/$pid/stat; done",
    ...family.map(String),
  );
  assertEquals(states, "T\nT\nT");
  await signalAll(family, "KILL");
  await child.status;
  await reader.cancel();
  await allGone(family);
  assertEquals(await familyOf(child.pid), []);
});
