/** Does what job code should not do, one thing at a time. */
import { defineJob, PermanentJobError, RetryLater, z } from "milvaion";

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export default defineJob({
  name: "MisbehaveJob",
  data: z.object({
    how: z.enum([
      "sleep",
      "heed",
      "heed-by-returning",
      "ignore",
      "spin",
      "spin-microtasks",
      "spin-heeding",
      "burn",
      "allocate",
      "allocate-buffers",
      "exit",
      "process-exit",
      "close",
      "exit-caught",
      "reject",
      "throw-in-timer",
      "fail",
      "fail-permanently",
      "retry-later",
      "throw-text",
      "return-cycle",
      "return-large",
      "write-stdout",
      "console",
      "flood",
      "large-line",
      "odd-fields",
      "large-error",
      "reach-out",
    ]),
    ms: z.number().default(0),
    path: z.string().default(""),
  }),
  run: async (ctx) => {
    const { how, ms, path } = ctx.data;
    switch (how) {
      case "sleep":
        return await sleep(ms);
      case "heed":
        return await new Promise((_, reject) =>
          ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason))
        );
      case "heed-by-returning":
        return await new Promise((resolve) => ctx.signal.addEventListener("abort", () => resolve("early")));
      case "ignore":
        return await new Promise(() => {});
      case "spin":
        for (;;);
      case "spin-microtasks":
        for (;;) await Promise.resolve();
      case "spin-heeding":
        for (;;) ctx.signal.throwIfAborted();
      case "burn": {
        const end = performance.now() + ms;
        while (performance.now() < end);
        return;
      }
      case "allocate": {
        const kept: unknown[] = [];
        for (;;) kept.push(new Array(1000).fill({ kept: kept.length }));
      }
      case "allocate-buffers": {
        const kept: Uint8Array[] = [];
        for (;;) {
          kept.push(new Uint8Array(8 * 1024 * 1024).fill(1));
          await sleep(5);
        }
      }
      case "exit":
        return Deno.exit(3);
      case "process-exit":
        return (await import("node:process")).exit(3);
      case "close":
        return self.close();
      case "exit-caught":
        try {
          Deno.exit(3);
        } catch {
          return await new Promise(() => {});
        }
        return;
      case "reject":
        void Promise.reject(new Error("Nobody waits for this"));
        return await sleep(ms);
      case "throw-in-timer":
        setTimeout(() => {
          throw new Error("Thrown in a timer");
        }, 1);
        return await new Promise(() => {});
      case "fail":
        throw new TypeError("It failed", { cause: new Error("for this reason") });
      case "fail-permanently":
        throw new PermanentJobError("It will never work");
      case "retry-later":
        throw new RetryLater("Too busy", { afterSeconds: 7 });
      case "throw-text":
        throw "only text";
      case "return-cycle": {
        const cycle: Record<string, unknown> = {};
        cycle["self"] = cycle;
        return cycle;
      }
      case "return-large":
        return "x".repeat(200_000);
      case "write-stdout":
        return Deno.stdout.writeSync(new TextEncoder().encode("\x1e1 [[1,1,"));
      case "console":
        console.log("said", { to: "the console" });
        console.error("and in anger");
        return;
      case "flood":
        for (let line = 0; line < 10_000; line++) ctx.log.info(`line ${line}`);
        return;
      case "large-line":
        return ctx.log.info("y".repeat(1_000_000));
      case "odd-fields": {
        const fields: Record<string, unknown> = { big: 1n, nul: "a\0b", half: "\ud800" };
        fields["self"] = fields;
        return ctx.log.warn("odd", fields);
      }
      case "large-error":
        throw new Error("z".repeat(5_000_000));
      case "reach-out": {
        const told: Record<string, string> = {};
        const attempt = async (what: string, act: () => unknown) => {
          try {
            await act();
            told[what] = "done";
          } catch (error) {
            told[what] = error instanceof Error ? error.name : String(error);
          }
        };
        await attempt("read", () => Deno.readTextFileSync(path));
        await attempt("write", () => Deno.writeTextFileSync(path + ".written", ""));
        await attempt("env", () => Deno.env.get("HOME"));
        await attempt("net", () => Deno.connect({ hostname: "127.0.0.1", port: 9 }));
        await attempt("run", () => new Deno.Command(Deno.execPath()).outputSync());
        await attempt("kill", () => Deno.kill(Deno.pid, "SIGKILL"));
        await attempt("worker", () => new Worker("data:text/javascript,", { type: "module" }));
        return told;
      }
    }
  },
});
