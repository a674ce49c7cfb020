/** Configuration as tests give it: files, environment and flags of their own. */
import { type ConfigInput, loadConfig, problemLine } from "../../infra/config.ts";

export interface Given {
  /** Files by path. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: ConfigInput["flags"];
  readonly file?: string | null;
}

export function load({ files = {}, env = {}, flags = [], file }: Given) {
  return loadConfig({
    ...(file === undefined ? {} : { file }),
    env,
    flags,
    machine: { cores: 4 },
    readTextFile: (path) => {
      const content = files[path];
      return content === undefined
        ? Promise.reject(new Deno.errors.NotFound(`No such file: ${path}`))
        : Promise.resolve(content);
    },
  });
}

/** Loads what must be accepted. */
export async function good(given: Given) {
  const loaded = await load(given);
  if (!loaded.ok) throw new Error(loaded.problems.map(problemLine).join("\n"));
  return loaded;
}

/** What is wrong with it, a line each; none when it is accepted. */
export async function problems(given: Given): Promise<string[]> {
  const loaded = await load(given);
  return loaded.ok ? [] : loaded.problems.map(problemLine);
}

/** This as the configuration file. */
export const jsonFile = (value: unknown): Given => ({ files: { "milvaion.json": JSON.stringify(value) } });
