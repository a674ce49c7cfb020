/** Who may import whom, and where time, randomness and I/O may be touched (design: one way, ports from the start). */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** Folder of a file → folders (and packages) that it may import from. The longest matching folder decides. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "actors/domain": ["actors/domain", "croner", "cron-parser"],
  "actors/runtime": ["actors/runtime"],
  "actors/ports": ["actors/ports", "actors/domain"],
  "actors": ["actors"],
  "workers/jobs": ["milvaion"],
  "workers": ["workers", "actors/domain", "actors/ports", "zod", "node:"],
  "infra": ["infra", "actors/domain", "actors/ports", "node:", "zod", "@std/async", "hono"],
  "infra/postgres": ["infra", "actors/domain", "actors/ports", "node:", "postgres"],
  "infra/redis": ["infra", "actors/domain", "actors/ports", "node:", "ioredis"],
  "infra/rabbitmq": ["infra", "actors/domain", "actors/ports", "node:", "zod", "amqplib"],
  "infra/doctor": ["infra", "actors/domain", "actors/ports", "node:", "postgres", "ioredis", "amqplib"],
  "routes": ["routes", "actors", "hono", "zod"],
};

/** `main.ts` and `infra/adapters.ts` put the parts together and know all of them. */
const WIRING = ["main.ts", "infra/adapters.ts"];

/** Where the outside world may be touched. */
const MAY_TOUCH_THE_WORLD = ["infra/", "workers/", "tests/", "main.ts"];

const WORLD: readonly { readonly name: string; readonly pattern: RegExp }[] = [
  { name: "Date.now()", pattern: /\bDate\.now\s*\(/ },
  { name: "new Date() without argument", pattern: /\bnew Date\s*\(\s*\)/ },
  { name: "performance", pattern: /\bperformance\s*\./ },
  { name: "Math.random", pattern: /\bMath\.random\b/ },
  { name: "crypto randomness", pattern: /\bcrypto\.(getRandomValues|randomUUID)\b/ },
  { name: "timers", pattern: /\b(setTimeout|setInterval|setImmediate|queueMicrotask)\s*\(/ },
  { name: "AbortSignal.timeout", pattern: /\bAbortSignal\.timeout\b/ },
  { name: "fetch", pattern: /(?<![.\w])fetch\s*\(/ },
  { name: "Deno", pattern: /\bDeno\.\w/ },
  { name: "node:", pattern: /from\s+"node:/ },
];

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(new URL(folder, ROOT))) {
    const path = folder + entry.name;
    if (entry.isDirectory) {
      if (!entry.name.startsWith(".") && entry.name !== "milvaion-data") yield* sources(path + "/");
    } else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

/** Code without comments, strings and templates kept apart only as far as imports need them. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:"'`])\/\/.*$/gm, "$1");
}

function importsOf(path: string, code: string): string[] {
  const found = [...code.matchAll(/(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)"([^"]+)"/g)].map((match) =>
    match[1] ?? ""
  );
  return found.map((specifier) =>
    specifier.startsWith(".")
      ? new URL(specifier, new URL(path, ROOT)).href.slice(ROOT.href.length)
      : specifier
  );
}

function ruleFor(path: string): readonly string[] | undefined {
  const folder =
    Object.keys(MAY_IMPORT).filter((one) => path.startsWith(one + "/")).sort((a, b) =>
      b.length - a.length
    )[0];
  return folder === undefined ? undefined : MAY_IMPORT[folder];
}

function isAllowed(target: string, allowed: readonly string[]): boolean {
  return allowed.some((one) =>
    target === one || target.startsWith(one.endsWith(":") ? one : one + "/") ||
    target.startsWith(`npm:${one}@`)
  );
}

Deno.test("imports go one way: domain and runtime know nobody, ports know the domain, routes know the actors", async () => {
  const wrong: string[] = [];
  for await (const path of sources("")) {
    if (
      path.endsWith("_test.ts") || path.startsWith("tests/") || WIRING.includes(path) ||
      path.includes("/std/")
    ) continue;
    const allowed = ruleFor(path);
    if (allowed === undefined) {
      wrong.push(`${path} lies in no folder that has a rule`);
      continue;
    }
    const code = withoutComments(await Deno.readTextFile(new URL(path, ROOT)));
    for (const target of importsOf(path, code)) {
      if (!isAllowed(target, allowed)) wrong.push(`${path} imports ${target}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("time, randomness and I/O are touched only in infra, workers and main.ts", async () => {
  const wrong: string[] = [];
  for await (const path of sources("")) {
    if (path.endsWith("_test.ts") || MAY_TOUCH_THE_WORLD.some((one) => path.startsWith(one))) continue;
    const code = withoutComments(await Deno.readTextFile(new URL(path, ROOT)));
    for (const { name, pattern } of WORLD) if (pattern.test(code)) wrong.push(`${path} uses ${name}`);
  }
  assertEquals(wrong, []);
});

Deno.test("the top level holds what the user fixed and nothing else", async () => {
  const fixed = [
    "deno.json",
    "deno.lock",
    "main.ts",
    "actors",
    "routes",
    "workers",
    "infra",
    "tests",
    "compose.yaml",
    "README.md",
    "LICENSE",
  ];
  const wrong: string[] = [];
  for await (const entry of Deno.readDir(ROOT)) {
    const generated = ["milvaion-data", "dist", "coverage"];
    if (!fixed.includes(entry.name) && !entry.name.startsWith(".") && !generated.includes(entry.name)) {
      wrong.push(entry.name);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("no task asks for all permissions, and each says what it does", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const wrong: string[] = [];
  for (const [name, task] of Object.entries<{ command?: string; description?: string }>(config.tasks)) {
    if (!task.description) wrong.push(`${name} has no description`);
    if (/(^|\s)(-A|--allow-all)(\s|$)/.test(task.command ?? "")) {
      wrong.push(`${name} asks for all permissions`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("each row of the README's table names files that show it, one at least of which every test run runs", async () => {
  const table = (await Deno.readTextFile(new URL("README.md", ROOT))).split("## What happens when …")[1]
    ?.split("\n## ")[0] ?? "";
  const rows = table.split("\n").filter((line) => line.startsWith("| ")).slice(1);
  const wrong: string[] = [];
  for (const row of rows) {
    const [what = "", ...cells] = row.slice(2, -2).split(" | ");
    const named = [...(cells.at(-1) ?? "").matchAll(/`([^`]+)`/g)].map(([, path = ""]) => path);
    for (const path of named) {
      const isFile = await Deno.stat(new URL(path, ROOT)).then((one) => one.isFile, () => false);
      if (!isFile) wrong.push(`"${what}": ${path} is no file`);
    }
    // The contracts are run by the tests of their adapters.
    if (!named.some((path) => /_(test|contract)\.ts$/.test(path))) {
      wrong.push(`"${what}" names no test that every test run runs`);
    }
  }
  assert(rows.length > 0, "the table is found");
  assertEquals(wrong, []);
});
