/** Reads what a user names: a file, or standard input for `-`. */
import { CommandFailure, EXIT } from "./exit_code.ts";

/** As large as a request body may be. */
const MAX_BYTES = 1024 * 1024;

/** Standard input, and whether a person sits at its other end. */
export interface StandardInput {
  readonly isTerminal: () => boolean;
  readonly readable: ReadableStream<Uint8Array>;
}

/** The text of it, which must be UTF-8 of at most 1 MiB. Throws CommandFailure. */
export async function readTextSource(path: string, standardInput: StandardInput): Promise<string> {
  if (path === "-" && standardInput.isTerminal()) {
    throw new CommandFailure(
      EXIT.usage,
      "- reads standard input, which is a terminal",
      "Give a file, or pipe one in.",
    );
  }
  const name = path === "-" ? "Standard input" : path;
  const bytes = await atMost(MAX_BYTES, path === "-" ? standardInput.readable : await opened(path), name);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CommandFailure(EXIT.data, `${name} is not UTF-8`, "Save it as UTF-8 and try again.");
  }
}

async function opened(path: string): Promise<ReadableStream<Uint8Array>> {
  try {
    const { isDirectory } = await Deno.stat(path);
    if (!isDirectory) return (await Deno.open(path)).readable;
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new CommandFailure(EXIT.noInput, `Cannot read ${path}: ${reason}`);
  }
  throw new CommandFailure(EXIT.noInput, `Cannot read ${path}: it is a directory`);
}

async function atMost(limit: number, stream: ReadableStream<Uint8Array>, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the stream, so that a file of a gigabyte costs a mebibyte.
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > limit) {
      throw new CommandFailure(EXIT.data, `${name} is larger than 1 MiB, the limit of the API`);
    }
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
