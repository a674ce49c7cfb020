/**
 * Deno permissions of job code: the job file asks, the configuration grants, a trusted folder grants what is asked.
 * A Web Worker gets exactly the grant of its type; its host no more than that and read access to the code.
 */
import type { JobPermissions } from "../actors/domain/job_type.ts";

const KINDS = ["net", "read", "write", "env", "sys"] as const;

/** What a type gets: what is configured for it, else what it asks for when its folder is trusted, else nothing. */
export function grantsOf(
  options: {
    readonly asked: JobPermissions | undefined;
    readonly configured: JobPermissions | undefined;
    readonly trusted: boolean;
  },
): JobPermissions {
  return normal(options.configured ?? (options.trusted ? options.asked ?? {} : {}));
}

/** The kinds of permission that are asked for and not granted at all. */
export function refusedKinds(asked: JobPermissions | undefined, granted: JobPermissions): readonly string[] {
  const wanted = normal(asked ?? {});
  return KINDS.filter((kind) => wanted[kind] !== undefined && granted[kind] === undefined);
}

/** Equal grants have equal keys: such types may share hosts. */
export function grantsKey(grants: JobPermissions): string {
  return JSON.stringify(normal(grants));
}

/** For a Web Worker. Every kind is named, because one that is left out is inherited from the host. */
export function guestPermissions(grants: JobPermissions): Deno.PermissionOptionsObject {
  const option = (kind: (typeof KINDS)[number]) => {
    const granted = grants[kind];
    return typeof granted === "object" ? [...granted] : granted ?? false;
  };
  return {
    net: option("net"),
    read: option("read"),
    write: option("write"),
    env: option("env"),
    sys: option("sys") as boolean,
    run: false,
    ffi: false,
    import: false,
  };
}

/** Flags of `deno run` for a host: the grant, and read access to these folders, where code is loaded from. */
export function hostFlags(grants: JobPermissions, codeFolders: readonly string[]): readonly string[] {
  const flags: string[] = [];
  for (const kind of KINDS) {
    const granted = grants[kind];
    if (granted === true) flags.push(`--allow-${kind}`);
    else {
      const names = [...(granted || []), ...(kind === "read" ? codeFolders : [])];
      // A comma separates, two of them are one.
      if (names.length > 0) {
        flags.push(`--allow-${kind}=${names.map((name) => name.replaceAll(",", ",,")).join(",")}`);
      }
    }
  }
  return flags;
}

/** Sorted, without what grants nothing. */
function normal(permissions: JobPermissions): JobPermissions {
  const kept = KINDS.flatMap((kind) => {
    const value = permissions[kind];
    if (value === undefined || value === false || (typeof value === "object" && value.length === 0)) {
      return [];
    }
    return [[kind, typeof value === "object" ? [...new Set(value)].sort() : value]];
  });
  return Object.fromEntries(kept);
}
