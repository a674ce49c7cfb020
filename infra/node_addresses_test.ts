import { assertEquals, assertStringIncludes } from "@std/assert";
import { nodeAddresses } from "./node_addresses.ts";

Deno.test("nodes of a cluster are hosts of one address, or addresses with commas between", () => {
  const urls: [string, ...string[]] = [
    "amqp://u:p%2C@a/v?heartbeat=3",
    "amqp://u:p%2C@b:5673/v?heartbeat=3",
    "amqp://u:p%2C@[::1]/v?heartbeat=3",
  ];
  assertEquals(nodeAddresses("amqp://u:p%2C@a,b:5673, [::1]/v?heartbeat=3"), { ok: true, urls });
  assertEquals(nodeAddresses(urls.join(", ")), { ok: true, urls });
  assertEquals(nodeAddresses("amqps://a"), { ok: true, urls: ["amqps://a"] });
  assertEquals(nodeAddresses("amqp://a:1,b:2,amqp://c:3"), {
    ok: true,
    urls: ["amqp://a:1", "amqp://b:2", "amqp://c:3"],
  });
});

Deno.test("what is wrong with nodes is said without their credentials", () => {
  const wrong: readonly (readonly [string, string])[] = [
    ["amqp://u:secret@a,b:x/v", "address 2 of 2 is no address with a host"],
    ["amqp://u:secret@a,,b/v", "address 2 of 3 is no address with a host"],
    ["amqp://u:secret@a/v,amqps://u:secret@b/v", "address 2 of 2 begins with another scheme"],
    ["amqp://u:secret@a/v,amqp://u:secret@b/w", "address 2 of 2 names another path (a virtual host)"],
    ["amqp://u:secret@a:1,b,a:1/v", "a:1 is named twice"],
    ["a,b", "it is no address with a host"],
    ["", "it is no address with a host"],
  ];
  for (const [text, problem] of wrong) {
    const read = nodeAddresses(text);
    assertStringIncludes(read.ok ? "" : read.problem, problem);
    assertEquals(JSON.stringify(read).includes("secret"), false);
  }
});
