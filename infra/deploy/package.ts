/**
 * `deno task package`: one file in dist/ that runs where neither Deno nor a network is. A shell stub, then an
 * archive of the Deno executable, the sources and the npm packages they use. The first start unpacks it beside the
 * user's caches, later ones go straight there. No bundling: the same files run as in the repository, executor hosts,
 * Web Workers and a user's own job files included.
 */
const ROOT = new URL("../../", import.meta.url);
const SOURCES = ["main.ts", "actors", "infra", "routes", "workers", "LICENSE"];
const ENTRY_POINTS = ["main.ts", "workers/handler.ts"];
/** Only tests use these. */
const LEFT_OUT = ["fast-check", "@std/assert"];

interface DenoConfig {
  version: string;
  links: string[];
  imports: Record<string, string>;
  tasks: Record<string, { command: string }>;
  [key: string]: unknown;
}

if (import.meta.main) await makePackage(Deno.args[0] ?? new URL("dist/milvaion", ROOT).pathname);

/** Writes the package to `target` and says how large it is. */
export async function makePackage(target: string): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "milvaion-package-" });
  try {
    console.log("Collecting sources and npm packages …");
    const config: DenoConfig = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
    for (const source of SOURCES) await copy(new URL(source, ROOT).pathname, `${work}/app/${source}`);
    await Deno.writeTextFile(`${work}/app/deno.json`, JSON.stringify(packagedConfig(config), null, 2));
    await Deno.copyFile(Deno.execPath(), `${work}/app/deno`);
    await Deno.chmod(`${work}/app/deno`, 0o755);
    await run(
      Deno.execPath(),
      ["cache", "--config", "deno.json", "--no-lock", ...ENTRY_POINTS],
      `${work}/app`,
      {
        DENO_DIR: `${work}/app/deno_dir`,
      },
    );

    console.log("Packing …");
    await run("tar", ["-czf", "../app.tar.gz", "."], `${work}/app`, { GZIP: "-9" });
    const archive = await Deno.readFile(`${work}/app.tar.gz`);
    const digest = await crypto.subtle.digest("SHA-256", archive);
    const build = [...new Uint8Array(digest).slice(0, 6)].map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    const file = await Deno.open(target, { write: true, create: true, truncate: true, mode: 0o755 });
    await file.write(new TextEncoder().encode(stub(`${config.version}-${build}`, taskFlags(config))));
    for (let at = 0; at < archive.length;) at += await file.write(archive.subarray(at));
    file.close();
    await Deno.chmod(target, 0o755);
    console.log(
      `${target}: ${((await Deno.stat(target)).size / 1e6).toFixed(1)} MB. Try: ${target} run --help`,
    );
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** The configuration without what only the repository needs. */
function packagedConfig(config: DenoConfig): Partial<DenoConfig> {
  const imports = Object.fromEntries(
    Object.entries(config.imports).filter(([name]) => !LEFT_OUT.includes(name)),
  );
  const links = config.links.filter((link) => !link.startsWith("./tests/"));
  const { version, nodeModulesDir, unstable, compilerOptions } = config;
  return { version, nodeModulesDir, unstable, compilerOptions, links, imports };
}

/** The permissions of `deno task run`, so that the package asks for no more than the repository does. */
function taskFlags(config: DenoConfig): string {
  const command = config.tasks["run"]?.command ?? "";
  const flags = command.slice(command.indexOf("--"), command.indexOf(" main.ts"));
  return flags.replace(/--allow-run=\$\(.*?'\)/, '--allow-run="$app/deno"');
}

function stub(version: string, flags: string): string {
  const lines = [
    "#!/bin/sh",
    "# Milvaion for Deno, self-extracting. The archive follows the line that says so.",
    "set -eu",
    `app="\${XDG_CACHE_HOME:-\${HOME:?HOME is not set: name a folder for the unpacked program}/.cache}/milvaion/${version}"`,
    'if [ ! -d "$app" ]; then',
    '  mkdir -p "${app%/*}"',
    '  unpacking="$(mktemp -d "$app.XXXXXX")"',
    "  trap 'rm -rf \"$unpacking\"' EXIT",
    "  lines=$(awk '/^#ARCHIVE$/ { print NR + 1; exit }' \"$0\")",
    '  tail -n +"$lines" "$0" | tar -xzf - -C "$unpacking"',
    "  # Two first starts at once: one of them wins, both run the same files.",
    '  mv -T "$unpacking" "$app" 2>/dev/null || [ -d "$app" ]',
    "  trap - EXIT",
    '  rm -rf "$unpacking"',
    "fi",
    'export DENO_DIR="$app/deno_dir" DENO_NO_UPDATE_CHECK=1',
    `exec "$app/deno" run --cached-only --no-lock --config "$app/deno.json" ${flags} "$app/main.ts" "$@"`,
    "#ARCHIVE",
    "",
  ];
  return lines.join("\n");
}

async function copy(from: string, to: string): Promise<void> {
  const { isDirectory } = await Deno.stat(from);
  if (!isDirectory) {
    await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
    await Deno.copyFile(from, to);
    return;
  }
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (!/_test\.ts$/.test(entry.name)) await copy(`${from}/${entry.name}`, `${to}/${entry.name}`);
  }
}

async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<void> {
  const { code, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd,
    env,
    stdout: "null",
    stderr: "piped",
  })
    .output();
  if (code !== 0) {
    throw new Error(`${command} ${args[0]} ended with ${code}: ${new TextDecoder().decode(stderr)}`);
  }
}
