/** A question to the person at the terminal. */
import type { StandardInput } from "./text_source.ts";

/** The line that comes as answer, without spaces around it; empty at the end of the input. */
export async function askPerson(
  question: string,
  { standardInput, writeError }: {
    readonly standardInput: StandardInput;
    readonly writeError: (text: string) => void;
  },
): Promise<string> {
  // Not to standard output, so that a pipe gets the answer of the command only.
  writeError(question);
  const reader = standardInput.readable.getReader();
  try {
    // A terminal gives out whole lines.
    const { value } = await reader.read();
    return new TextDecoder().decode(value).trim();
  } finally {
    reader.releaseLock();
  }
}
