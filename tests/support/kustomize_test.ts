import { assertEquals, assertRejects } from "@std/assert";
import { kustomized } from "./kustomize.ts";

/** A folder with these files, gone afterwards. */
async function withFiles(
  files: Readonly<Record<string, string>>,
  work: (folder: URL) => Promise<void>,
): Promise<void> {
  const folder = new URL(`file://${await Deno.makeTempDir({ prefix: "milvaion-kustomize-" })}/`);
  try {
    for (const [path, text] of Object.entries(files)) {
      const file = new URL(path, folder);
      await Deno.mkdir(new URL(".", file), { recursive: true });
      await Deno.writeTextFile(file, text);
    }
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const resources = (...names: readonly string[]) => `namespace: own\nresources: ${JSON.stringify(names)}\n`;
const map = (name: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\n`;

Deno.test("kustomize: a base beside it is taken in, and everything gets the namespace", () =>
  withFiles({
    "base/kustomization.yaml": "resources: [a.yaml]\n",
    "base/a.yaml": map("a"),
    "more/kustomization.yaml": resources("../base", "b.yaml"),
    "more/b.yaml": map("b"),
  }, async (folder) => {
    const found = await kustomized(new URL("more", folder));
    assertEquals(found.map(({ metadata }) => metadata), [
      { name: "a", namespace: "own" },
      { name: "b", namespace: "own" },
    ]);
  }));

// What `kubectl kustomize` 1.32 (kustomize 5.5) says of the folder `more`.
for (
  const [what, files, message] of [
    [
      "the folder that it lies in",
      {
        "kustomization.yaml": resources("a.yaml"),
        "a.yaml": map("a"),
        "more/kustomization.yaml": resources(".."),
      },
      "cycle detected",
    ],
    ["itself", { "more/kustomization.yaml": resources(".") }, "cycle detected"],
    [
      "one that names it",
      { "other/kustomization.yaml": resources("../more"), "more/kustomization.yaml": resources("../other") },
      "cycle detected",
    ],
    [
      "a file that is not there",
      { "more/kustomization.yaml": resources("a.yaml") },
      "no such file or directory",
    ],
    [
      "a folder without a kustomization",
      { "other/a.yaml": map("a"), "more/kustomization.yaml": resources("../other") },
      "unable to find one of",
    ],
    [
      "a file outside of its folder",
      { "other/a.yaml": map("a"), "more/kustomization.yaml": resources("../other/a.yaml") },
      "is not in or below",
    ],
    [
      "one thing twice",
      {
        "other/kustomization.yaml": "resources: [a.yaml]\n",
        "other/a.yaml": map("a"),
        "more/kustomization.yaml": "resources: [../other, b.yaml]\n",
        "more/b.yaml": map("a"),
      },
      "already registered id",
    ],
  ] as const
) {
  Deno.test(`kustomize: a kustomization that names ${what} is refused`, () =>
    withFiles(files, async (folder) => {
      await assertRejects(() => kustomized(new URL("more", folder)), Error, message);
    }));
}
