/**
 * compose.yaml as far as tests need it: the services as text, with what they merge in (`<<: *name`) put behind their
 * own lines, so that the first match of a pattern is the one that counts.
 */
const FILE = new URL("../../compose.yaml", import.meta.url);

export interface ComposeFile {
  readonly text: string;
  /** Text of each service by name, without the name's own line. */
  readonly services: ReadonlyMap<string, string>;
}

export async function readComposeFile(): Promise<ComposeFile> {
  const text = (await Deno.readTextFile(FILE)).replace(/^\s*#.*\n/gm, "");
  const shared = new Map(
    [...text.matchAll(/^x-[\w-]+: &([\w-]+)\n((?: .*\n|\n)*)/gm)].map((
      [, name = "", body = ""],
    ) => [name, body]),
  );
  const merged = (body: string): string => {
    const names = [...body.matchAll(/^ *<<: \*([\w-]+)$/gm)].map(([, name = ""]) => name);
    return names.reduce((all, name) => all + merged(indented(shared.get(name))), body);
  };
  const services = /^services:\n((?: .*\n|\n)*)/m.exec(text)?.[1] ?? "";
  return {
    text,
    services: new Map(
      [...services.matchAll(/^ {2}([\w-]+):\n((?: {4}.*\n|\n)*)/gm)].map((
        [, name = "", body = ""],
      ) => [name, merged(body)]),
    ),
  };
}

/** The variables that a service sets, with the defaults of compose.yaml for what .env may say. */
export function environmentOf(service: string): Record<string, string> {
  return Object.fromEntries(
    [...service.matchAll(/^ +([A-Za-z]\w*): (?:"([^"]*)"|([^"\n]*))$/gm)]
      .filter(([, name = ""]) => /^[A-Z]+(_[A-Z]+)+$|__/.test(name))
      .map(([, name = "", quoted, plain = ""]) => [name, withDefaults(quoted ?? plain)]),
  );
}

/** `${NAME:-default}` without a .env. */
export function withDefaults(text: string): string {
  return text.replace(/\$\{\w+:-([^}]*)\}/g, "$1");
}

/** Merged keys stand two columns further in within a service than at the top. */
function indented(body: string | undefined): string {
  if (body === undefined) throw new Error("compose.yaml merges in what it does not have");
  return body.replace(/^(?=.)/gm, "  ");
}
