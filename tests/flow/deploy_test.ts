/** What compose.yaml, the Dockerfile, the secrets and the program promise each other. No engine runs here. */
import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { parseCommandLine } from "../../infra/command_line.ts";
import { loadConfig } from "../../infra/config.ts";
import { environmentOf, readComposeFile, withDefaults } from "../support/compose_file.ts";
import { shell } from "../support/processes.ts";

const ROOT = new URL("../../", import.meta.url);
const WORKERS = ["email-worker", "report-worker", "migration-worker"];
const SERVERS = ["postgres", "redis", "rabbitmq"];
const compose = await readComposeFile();
const dockerfile = await Deno.readTextFile(new URL("infra/deploy/Dockerfile", ROOT));

function service(name: string): string {
  const text = compose.services.get(name);
  assert(text !== undefined, `compose.yaml has the service ${name}`);
  return text;
}

/** The secrets as make_secrets.sh makes them, in a folder that is gone afterwards. */
async function withSecrets(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-secrets-" });
  try {
    await makeSecrets(folder);
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function makeSecrets(folder: string): Promise<void> {
  await shell('sh "$1" "$2"', new URL("infra/deploy/make_secrets.sh", ROOT).pathname, folder);
}

async function contents(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name } of Deno.readDir(folder)) {
    found.set(name, await Deno.readTextFile(`${folder}/${name}`));
  }
  return found;
}

/** Names of the secret files that a service is given. */
function secretsOf(text: string): readonly string[] {
  return /secrets: \[(.*)\]/.exec(text)?.[1]?.split(", ") ?? [];
}

/** What the program makes of a service's variables and secret files, warnings included. */
async function configOf(text: string, folder: string, extra: Readonly<Record<string, string>> = {}) {
  const loaded = await loadConfig({
    file: null,
    env: { ...environmentOf(text), ...extra },
    flags: [],
    machine: { cores: 2 },
    readTextFile(path) {
      const secret = path.replace("/run/secrets/", "");
      assert(secretsOf(text).includes(secret), `it is given ${secret}`);
      return Deno.readTextFile(`${folder}/${secret}`);
    },
  });
  assert(loaded.ok, JSON.stringify(loaded));
  assertEquals(loaded.warnings, []);
  return loaded.config;
}

Deno.test("compose.yaml has the schema's step, the API, the balancer, three pools, three servers, and nothing else", () => {
  assertEquals([...compose.services.keys()], ["migrate", "milvaion-api", "nginx", ...WORKERS, ...SERVERS]);
});

Deno.test("what is scaled has no fixed name and no port of its own; only nginx is published", () => {
  for (const [name, text] of compose.services) {
    assert(!text.includes("container_name"), `${name} has a fixed name`);
    assertEquals(/^ {4}ports:/m.test(text), name === "nginx", `${name} publishes a port`);
  }
});

Deno.test("every service drops all privileges; what stays restarts, and says when it is healthy", () => {
  for (const [name, text] of compose.services) {
    assertMatch(text, /cap_drop: \[ALL\]/, name);
    assertMatch(text, /no-new-privileges:true/, name);
    if (name !== "migrate") {
      assertMatch(text, /restart: unless-stopped/, name);
      assertMatch(text, /healthcheck:/, name);
    }
    if (!["migrate", "milvaion-api", ...WORKERS].includes(name)) assertMatch(text, /^ {4}user: /m, name);
    if (name !== "rabbitmq") assertMatch(text, /read_only: true/, name);
  }
  assertEquals(dockerfile.match(/^HEALTHCHECK /gm)?.length, 2);
  assertMatch(dockerfile, /^USER 10001:10001$/m);
});

Deno.test("the program accepts what compose.yaml tells each service, without a warning", async () => {
  await withSecrets(async (folder) => {
    for (const name of ["milvaion-api", ...WORKERS]) {
      const isApi = name === "milvaion-api";
      const text = service(name);
      const { MilvaionConfig, Worker } = await configOf(
        text,
        folder,
        isApi ? { HOST: "0.0.0.0", PORT: "5000" } : {},
      );
      for (const { Url } of [MilvaionConfig.Postgres, MilvaionConfig.Redis, MilvaionConfig.RabbitMQ]) {
        assert(SERVERS.includes(new URL(Url ?? "").hostname), "each address names a service");
      }
      if (isApi) assertNotEquals(MilvaionConfig.Api.Token, null);
      else assertEquals([Worker.WorkerId, Worker.JobTypes.length], [name, 1]);
      const clean = Worker.ShutdownGraceSeconds + Worker.KillGraceSeconds;
      const given = Number(/stop_grace_period: (\d+)s/.exec(text)?.[1]);
      assert(given >= clean + 10, `${name} is given ${given} s to stop and may take ${clean} s and more`);
    }
  });
});

Deno.test("workers never see the address of the database's owner; what they have is a role of their own", async () => {
  await withSecrets(async (folder) => {
    const urlOf = async (name: string) => {
      const { MilvaionConfig } = await configOf(service(name), folder);
      return new URL(MilvaionConfig.Postgres.Url ?? "");
    };
    const owner = await urlOf("milvaion-api");
    assertEquals(owner.username, "milvaion");
    for (const name of WORKERS) {
      const worker = await urlOf(name);
      assertEquals([worker.username, worker.host, worker.pathname], [
        "milvaion_worker",
        owner.host,
        owner.pathname,
      ]);
      assertNotEquals(worker.password, owner.password);
      assertEquals(secretsOf(service(name)), ["worker_database_url", "redis_url", "amqp_url"]);
    }
  });
});

Deno.test("the owner makes the schema and lets the workers' role claim, before an instance starts", async () => {
  await withSecrets(async (folder) => {
    const text = service("migrate");
    const [, command = ""] = /command: \[(.*)\]/.exec(text) ?? [];
    assertEquals(parseCommandLine(command.split(", ")), {
      ok: true,
      command: {
        name: "migrate",
        config: { flags: [] },
        dryRun: false,
        from: null,
        workerRole: "milvaion_worker",
      },
    });
    assertMatch(text, /^ {4}restart: "no"\n/m, "it ends, and that is no fault");
    assertEquals(secretsOf(text), ["database_url"], "one secret is all it needs");
    const { MilvaionConfig } = await configOf(text, folder);
    assertEquals(new URL(MilvaionConfig.Postgres.Url ?? "").username, "milvaion");
  });
  for (const name of ["milvaion-api", ...WORKERS]) {
    assertMatch(service(name), /migrate: \{ condition: service_completed_successfully \}/, name);
  }
});

Deno.test("make_secrets.sh makes each secret that compose.yaml names, in a folder that others cannot enter", async () => {
  await withSecrets(async (folder) => {
    const named = [...compose.text.matchAll(/file: \$\{MILVAION_SECRETS_DIR:-\.\/\.secrets\}\/(\w+)$/gm)];
    const there = await contents(folder);
    for (const [, name = ""] of named) assert((there.get(name) ?? "").length > 20, name);
    assertEquals(named.length, 10);
    assertEquals(((await Deno.stat(folder)).mode ?? 0) & 0o777, 0o700);
    const isIgnored = (await Deno.readTextFile(new URL(".gitignore", ROOT))).includes(".secrets/");
    assert(isIgnored, "git ignores them");
  });
});

Deno.test("make_secrets.sh keeps what is there, and a password that was deleted is new everywhere", async () => {
  await withSecrets(async (folder) => {
    const before = await contents(folder);
    await makeSecrets(folder);
    assertEquals(await contents(folder), before);
    await Deno.remove(`${folder}/redis_password`);
    await makeSecrets(folder);
    const after = await contents(folder);
    const changed = [...after.keys()].filter((name) => after.get(name) !== before.get(name)).sort();
    assertEquals(changed, ["redis_acl", "redis_password", "redis_url"]);
  });
});

Deno.test("no secret gets into an image: the build sees the sources and nothing else", async () => {
  const ignored = await Deno.readTextFile(new URL("infra/deploy/Dockerfile.dockerignore", ROOT));
  const lines = ignored.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assertEquals(lines[0], "*");
  for (const line of lines.filter((one) => one.startsWith("!"))) {
    assert(!line.startsWith("!."), `${line} lets dotfiles in`);
    await Deno.stat(new URL(line.slice(1), ROOT));
  }
});

Deno.test("an API instance may start nothing and write nothing; a worker may start Deno and write to its folder", () => {
  const [api = "", worker = ""] = dockerfile.match(/^ENTRYPOINT .*$/gm) ?? [];
  for (const flags of [api, worker]) {
    assertMatch(flags, /"--no-prompt", "--frozen", "--cached-only"/);
    assert(
      !/"(-A|--allow-all|--allow-read|--allow-write|--allow-run|--allow-sys|--allow-ffi)"/.test(flags),
      flags,
    );
  }
  assertMatch(api, /"--deny-run", "--deny-write", "--deny-ffi"/);
  assertMatch(worker, /"--allow-write=\/var\/lib\/milvaion"/);
  assertMatch(worker, /"--allow-run=\/usr\/local\/bin\/deno"/);
});

Deno.test(".env.example has each variable of compose.yaml, with its default", async () => {
  const example = await Deno.readTextFile(new URL(".env.example", ROOT));
  const variables = [...compose.text.matchAll(/\$\{(\w+):-([^}]*)\}/g)].map(([, name, value]) =>
    `${name}=${value}`
  );
  const listed = example.split("\n").filter((line) => /^\w+=/.test(line));
  assertEquals([...new Set(variables)].sort(), listed.sort());
});

Deno.test("nginx finds the API by the name and the port that it has", async () => {
  const nginx = await Deno.readTextFile(new URL("infra/deploy/nginx.conf", ROOT));
  const [, name = "", port = ""] = /server ([\w-]+):(\d+) resolve/.exec(nginx) ?? [];
  assert(compose.services.has(name), name);
  assertMatch(dockerfile, new RegExp(`PORT=${port}\\b`));
  assertMatch(withDefaults(service("nginx")), /127\.0\.0\.1:5000:80/);
});
