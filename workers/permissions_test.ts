import { assertEquals, assertNotEquals } from "@std/assert";
import { grantsKey, grantsOf, guestPermissions, hostFlags, refusedKinds } from "./permissions.ts";

const asked = { net: ["api.example.com"], read: true } as const;

Deno.test("the configuration grants; a trusted folder grants what is asked; nobody else does", () => {
  const configured = { net: ["other.example.com"] };
  assertEquals(grantsOf({ asked, configured, trusted: true }), configured);
  assertEquals(grantsOf({ asked, configured: undefined, trusted: true }), asked);
  assertEquals(grantsOf({ asked, configured: undefined, trusted: false }), {});
  assertEquals(grantsOf({ asked, configured: { net: false, env: [] }, trusted: true }), {});
});

Deno.test("what is asked for and not granted at all is told", () => {
  assertEquals(refusedKinds(asked, {}), ["net", "read"]);
  assertEquals(refusedKinds(asked, { read: ["/tmp"] }), ["net"]);
  assertEquals(refusedKinds(undefined, {}), []);
});

Deno.test("a Web Worker's permissions name every kind, so that none is inherited", () => {
  assertEquals(guestPermissions({ net: ["a"], read: true }), {
    net: ["a"],
    read: true,
    write: false,
    env: false,
    sys: false,
    run: false,
    ffi: false,
    import: false,
  });
});

Deno.test("a host gets the grant and read access to the code, and a comma in a path stays one", () => {
  assertEquals(hostFlags({}, ["/jobs", "/a,b"]), ["--allow-read=/jobs,/a,,b"]);
  assertEquals(hostFlags({ read: true, net: ["x:1", "y"], write: ["/w"] }, ["/jobs"]), [
    "--allow-net=x:1,y",
    "--allow-read",
    "--allow-write=/w",
  ]);
});

Deno.test("types share hosts when their grants are equal, in whatever order they are written", () => {
  assertEquals(grantsKey({ net: ["b", "a"], read: false }), grantsKey({ net: ["a", "b", "a"] }));
  assertNotEquals(grantsKey({ net: true }), grantsKey({ net: ["a"] }));
});
