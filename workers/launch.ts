/** How a child process of ours is started: the program's own executable, few permissions, a cleared environment. */
import { fileURLToPath } from "node:url";

export interface LaunchRequest {
  /** Which main module: `host` (host.ts) or `discover` (discover.ts). */
  readonly module: "host" | "discover";
  /** Permission and V8 flags of `deno run`. */
  readonly flags: readonly string[];
  readonly args: readonly string[];
}

/** Where a launch goes: an executable and its arguments. */
export interface LaunchCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/** Lets a program that is no `deno run` of these sources (a compiled binary) start its hosts in its own way. */
export type Launch = (request: LaunchRequest) => LaunchCommand;

/** Where the modules of this folder lie: job code's `milvaion` and the guest are read from here. */
export const SOURCE_FOLDERS: readonly string[] = [
  fileURLToPath(import.meta.resolve("./")),
  fileURLToPath(import.meta.resolve("../actors/domain/")),
];

/**
 * `deno run` with the modules beside this file. The configuration's import map gives job files `milvaion` and `zod`,
 * wherever they lie. Packages that a job file imports from npm are loaded when they are not in the cache.
 */
export const launchDeno: Launch = ({ module, flags, args }) => ({
  command: Deno.execPath(),
  args: [
    "run",
    "--quiet",
    "--no-prompt",
    "--no-lock",
    "--unstable-worker-options",
    `--config=${fileURLToPath(import.meta.resolve("../deno.json"))}`,
    ...flags,
    fileURLToPath(import.meta.resolve(`./${module}.ts`)),
    ...args,
  ],
});

/**
 * A compiled binary starts itself, with the hidden command `host`. It cannot be given permissions: the host has the
 * binary's, and only its Web Workers have exactly what their type was granted.
 */
const launchCompiled: Launch = ({ module, args }) => ({
  command: Deno.execPath(),
  args: ["host", module, ...args],
});

/** As this program itself was started. */
export const launchOwn: Launch = Deno.build.standalone ? launchCompiled : launchDeno;

/**
 * Deno needs these to find its cache, and to reach a registry through a proxy, with the certificates of its place.
 * Job code reads none of them: it has no permission to.
 */
const KEPT_VARIABLES = [
  "DENO_DIR",
  "HOME",
  "XDG_CACHE_HOME",
  "NO_COLOR",
  "DENO_CERT",
  "DENO_TLS_CA_STORE",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "NPM_CONFIG_REGISTRY",
];

/** The environment of a host: what Deno itself needs, and the variables that were granted. */
export function hostEnvironment(granted: boolean | readonly string[] | undefined): Record<string, string> {
  if (granted === true) {
    try {
      return Deno.env.toObject();
    } catch (error) {
      throw new Error("Cannot grant the whole environment: the program itself may not read it", {
        cause: error,
      });
    }
  }
  const environment: Record<string, string> = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
  for (const name of [...KEPT_VARIABLES, ...(granted || [])]) {
    // Asked first, because on a terminal a read could prompt.
    if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") continue;
    const value = Deno.env.get(name);
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
