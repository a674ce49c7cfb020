/**
 * What `kubectl kustomize` makes of a folder, as far as this repository's kustomizations go: `resources` and
 * `namespace`. Each refusal below is one of kustomize 5.5, with what it says of itself.
 */
import { type Manifest, parseManifests } from "./manifests.ts";

const NAMES = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const KNOWN_FIELDS = ["apiVersion", "kind", "namespace", "resources"];
const WITHOUT_NAMESPACE = ["Namespace"];

/** The manifests that `kubectl apply -k` would apply. Throws where kustomize does. */
export async function kustomized(folder: URL): Promise<readonly Manifest[]> {
  return await build(asFolder(folder), []);
}

/** `visited`: the folders that led here, the first one first. */
async function build(folder: URL, visited: readonly URL[]): Promise<readonly Manifest[]> {
  // A folder is its parent's own content too: naming the parent, as naming itself, would never end.
  const within = [...visited].reverse().find(({ pathname }) => pathname.startsWith(folder.pathname));
  if (within !== undefined) {
    throw new Error(
      `cycle detected: candidate root ${folder.pathname} contains visited root ${within.pathname}`,
    );
  }
  const kustomization = await kustomizationIn(folder);
  const unknown = Object.keys(kustomization).filter((field) => !KNOWN_FIELDS.includes(field));
  if (unknown.length > 0) throw new Error(`${folder.pathname}: not looked at here: ${unknown.join(", ")}`);

  const manifests: Manifest[] = [];
  for (const name of kustomization.resources ?? []) {
    for (const manifest of await resource(new URL(name, folder), folder, [...visited, folder])) {
      const own = structuredClone(manifest);
      if (kustomization.namespace !== undefined && !WITHOUT_NAMESPACE.includes(own.kind)) {
        own.metadata.namespace = kustomization.namespace;
      }
      if (manifests.some((one) => idOf(one) === idOf(own))) {
        throw new Error(`may not add resource with an already registered id: ${idOf(own)}`);
      }
      manifests.push(own);
    }
  }
  return manifests;
}

async function resource(place: URL, folder: URL, visited: readonly URL[]): Promise<readonly Manifest[]> {
  let isDirectory: boolean;
  try {
    ({ isDirectory } = await Deno.stat(place));
  } catch (error) {
    throw new Error(`no such file or directory: ${place.pathname}`, { cause: error });
  }
  if (isDirectory) return await build(asFolder(place), visited);
  if (!place.pathname.startsWith(folder.pathname)) {
    throw new Error(`security; file ${place.pathname} is not in or below ${folder.pathname}`);
  }
  return parseManifests(await Deno.readTextFile(place), place.pathname);
}

async function kustomizationIn(folder: URL): Promise<Manifest> {
  const found: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile && NAMES.includes(name)) found.push(name);
  }
  const [name] = found;
  if (name === undefined) throw new Error(`unable to find one of ${NAMES.join(", ")} in ${folder.pathname}`);
  if (found.length > 1) throw new Error(`Found multiple kustomization files under: ${folder.pathname}`);
  const [kustomization] = parseManifests(await Deno.readTextFile(new URL(name, folder)), folder.pathname);
  return kustomization;
}

/** `apiVersion kind namespace/name`, by which one manifest is the same as another. */
function idOf({ apiVersion, kind, metadata }: Manifest): string {
  return `${apiVersion} ${kind} ${metadata.namespace ?? ""}/${metadata.name}`;
}

function asFolder(place: URL): URL {
  return place.pathname.endsWith("/") ? place : new URL(`${place.href}/`);
}
