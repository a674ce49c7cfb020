import { KeptLog } from "../../tests/support/quiet.ts";
import { watch, type WatchedLink } from "./watch.ts";
import { assertEquals } from "@std/assert";

/** A way to a Redis Cluster; `see` changes what is seen of it, and tells. */
class SeenLink implements WatchedLink {
  readonly place = "cluster";
  isReady = false;
  isWhole = false;
  lastError: string | null = null;
  #tell: (isReady: boolean) => void = () => {};

  onChange(listener: (isReady: boolean) => void): void {
    this.#tell = listener;
  }

  see(seen: Partial<Pick<WatchedLink, "isReady" | "isWhole" | "lastError">>): void {
    Object.assign(this, seen);
    this.#tell(this.isReady);
  }
}

function watched() {
  const link = new SeenLink();
  const log = new KeptLog();
  let isOpen = false;
  void watch([link], [link], log).connected.then(() => isOpen = true);
  const opened = async () => {
    await Promise.resolve();
    return isOpen;
  };
  return { link, log, opened };
}

Deno.test("opening waits for the masters that are still being connected to", async () => {
  const { link, log, opened } = watched();
  link.see({ isReady: true });
  assertEquals(await opened(), false);
  link.see({ isWhole: true });
  assertEquals(await opened(), true);
  assertEquals(log.lines.map(({ message }) => message), ["Redis is connected"]);
});

Deno.test("opening goes on without a master that cannot be connected to", async () => {
  const { link, opened } = watched();
  link.see({ isReady: true, lastError: "127.0.0.1:7001: connect ECONNREFUSED" });
  assertEquals(await opened(), true);
});

Deno.test("a master that is lost is told once, and once that all are there again", async () => {
  const { link, log, opened } = watched();
  link.see({ isReady: true, isWhole: true });
  link.see({ isWhole: false, lastError: "connect ECONNREFUSED" });
  link.see({});
  link.see({ isWhole: true, lastError: null });
  assertEquals(await opened(), true);
  assertEquals(log.lines.map(({ message }) => message), [
    "Redis is connected",
    "A master of the Redis Cluster is away",
    "Redis is connected",
  ]);
});
