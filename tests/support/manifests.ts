/** The manifests under infra/deploy/kubernetes, read as Kubernetes reads them. */
import { parseAllDocuments } from "yaml";

export const FOLDER = new URL("../../infra/deploy/kubernetes/", import.meta.url);

// deno-lint-ignore no-explicit-any -- a manifest is whatever its kind says
export type Manifest = any;

export interface ManifestFile {
  /** Below the folder, e.g. `hpa/email-worker-hpa.yaml`. */
  readonly path: string;
  readonly manifests: readonly Manifest[];
}

/** All files, kustomizations included. */
export async function readManifests(folder = FOLDER, above = ""): Promise<readonly ManifestFile[]> {
  const files: ManifestFile[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = above + entry.name;
    if (entry.isDirectory) {
      files.push(...await readManifests(new URL(`${entry.name}/`, folder), `${path}/`));
    } else if (entry.name.endsWith(".yaml")) {
      const text = await Deno.readTextFile(new URL(entry.name, folder));
      files.push({ path, manifests: parseManifests(text, path) });
    }
  }
  return files.sort((left, right) => left.path < right.path ? -1 : 1);
}

/** YAML 1.1, in which 0440 is octal, as Kubernetes reads it. `path` is for the message when it is none. */
export function parseManifests(text: string, path: string): readonly Manifest[] {
  return parseAllDocuments(text, { version: "1.1" }).map((document) => {
    if (document.errors.length > 0) throw new Error(`${path}: ${document.errors[0]?.message}`);
    return document.toJS();
  });
}
