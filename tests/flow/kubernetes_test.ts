/** What the Kubernetes manifests, the images and the program promise each other. No cluster runs here. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Deployment } from "kubernetes-models/apps/v1";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2";
import { Job } from "kubernetes-models/batch/v1";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1";
import { ConfigMap, Namespace, Secret, Service } from "kubernetes-models/v1";
import { ScaledObject, TriggerAuthentication } from "keda-models/keda.sh/v1alpha1";
import { ServiceMonitor } from "prometheus-models/monitoring.coreos.com/v1";
import { parse } from "yaml";
import { manifestOf } from "../../actors/domain/capacity_manifest.ts";
import { queueName } from "../../actors/domain/job_type.ts";
import { loadConfig } from "../../infra/config.ts";
import { scalingView } from "../../routes/capacity_view.ts";
import { kustomized } from "../support/kustomize.ts";
import { FOLDER, type Manifest, readManifests } from "../support/manifests.ts";

/** The schemas: a validator for what is there, and the name of the type that knows what may be there. */
const KINDS = {
  Deployment: [Deployment, "kubernetes-models/apps/v1", "IDeployment"],
  HorizontalPodAutoscaler: [
    HorizontalPodAutoscaler,
    "kubernetes-models/autoscaling/v2",
    "IHorizontalPodAutoscaler",
  ],
  Job: [Job, "kubernetes-models/batch/v1", "IJob"],
  PodDisruptionBudget: [PodDisruptionBudget, "kubernetes-models/policy/v1", "IPodDisruptionBudget"],
  ConfigMap: [ConfigMap, "kubernetes-models/v1", "IConfigMap"],
  Namespace: [Namespace, "kubernetes-models/v1", "INamespace"],
  Secret: [Secret, "kubernetes-models/v1", "ISecret"],
  Service: [Service, "kubernetes-models/v1", "IService"],
  ScaledObject: [ScaledObject, "keda-models/keda.sh/v1alpha1", "IScaledObject"],
  ServiceMonitor: [ServiceMonitor, "prometheus-models/monitoring.coreos.com/v1", "IServiceMonitor"],
  TriggerAuthentication: [TriggerAuthentication, "keda-models/keda.sh/v1alpha1", "ITriggerAuthentication"],
} as const;

const WORKERS = ["email-worker", "report-worker", "migration-worker"];
const files = await readManifests();
const all: readonly Manifest[] = files.flatMap((file) => file.manifests);

function of(kind: keyof typeof KINDS, name: string, folder = ""): Manifest {
  const found = files.filter((file) => file.path.startsWith(folder)).flatMap((file) => file.manifests)
    .find((one) => one.kind === kind && one.metadata.name === name);
  assert(found !== undefined, `there is a ${kind} ${name}`);
  return found;
}

function container(deployment: Manifest): Manifest {
  return deployment.spec.template.spec.containers[0];
}

/** The variables that a container gets, those of config maps included. */
function environmentOf(one: Manifest): Record<string, string> {
  const maps = (one.envFrom ?? []).map((from: Manifest) => of("ConfigMap", from.configMapRef.name).data);
  const own = Object.fromEntries((one.env ?? []).map((entry: Manifest) => [entry.name, valueOf(one, entry)]));
  return Object.assign({}, ...maps, own);
}

/** Given, or the container's own memory limit in MiB. */
function valueOf(one: Manifest, { name, value, valueFrom }: Manifest): string {
  if (valueFrom === undefined) return value;
  assertEquals(valueFrom, { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } }, name);
  const [, amount, unit] = /^(\d+)(Mi|Gi)$/.exec(one.resources.limits.memory) ?? [];
  return String(Number(amount) * (unit === "Gi" ? 1024 : 1));
}

Deno.test("kubernetes: every manifest has the form that its schema wants", () => {
  for (const { path, manifests } of files) {
    for (const manifest of manifests) {
      if (manifest.kind === "Kustomization") continue;
      const kind = KINDS[manifest.kind as keyof typeof KINDS];
      assert(kind !== undefined, `${path}: ${manifest.kind} has a schema here`);
      const Model = kind[0] as new (given: Manifest) => { validate(): void };
      new Model(manifest).validate();
    }
  }
});

Deno.test("kubernetes: a manifest that is wrong is refused by its schema", () => {
  const hpa = structuredClone(of("HorizontalPodAutoscaler", "email-worker-hpa"));
  hpa.spec.maxReplicas = "20";
  let message = "";
  try {
    new HorizontalPodAutoscaler(hpa).validate();
  } catch (error) {
    message = (error as Error).message;
  }
  assertMatch(message, /maxReplicas/);
});

Deno.test("kubernetes: no manifest has a field that its schema does not know", async () => {
  const lines = all.filter((one) => one.kind !== "Kustomization").map((manifest, index) => {
    const [, specifier, type] = KINDS[manifest.kind as keyof typeof KINDS];
    return `import type { ${type} as Type${index} } from "${specifier}";\n` +
      `export const manifest${index}: Type${index} = ${JSON.stringify(manifest)};`;
  });
  const wrong = `import type { IService } from "kubernetes-models/v1";\n` +
    `export const wrong: IService = { metadata: { name: "x" }, spec: { port: [] } };`;
  assertEquals(await typeErrors(lines.join("\n")), "");
  assertMatch(await typeErrors(wrong), /'port' does not exist/);
});

/** What `deno check` says of a module; empty when it is right. */
async function typeErrors(module: string): Promise<string> {
  const path = new URL(`./.manifests-${crypto.randomUUID()}.ts`, import.meta.url);
  await Deno.writeTextFile(path, module);
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--frozen", path.pathname],
      env: { NO_COLOR: "1" },
    }).output();
    return success ? "" : new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(path);
  }
}

/** What `kubectl apply -k` applies of each folder that has a kustomization, in short. */
const BASE = [
  "ConfigMap milvaion",
  ...["email-worker", "migration-worker", "milvaion-api", "report-worker"].map((name) =>
    `Deployment ${name}`
  ),
  "Job migrate",
  "Namespace milvaion",
  ...["email-worker", "migration-worker", "milvaion-api", "report-worker"].map((name) =>
    `PodDisruptionBudget ${name}`
  ),
  "Service milvaion-api",
];
const BUILDS: Readonly<Record<string, readonly string[]>> = {
  base: BASE,
  hpa: [...BASE, "HorizontalPodAutoscaler email-worker-hpa"],
  keda: [
    ...BASE,
    "ScaledObject email-worker-scaler",
    "ScaledObject report-worker-scaler",
    "TriggerAuthentication milvaion-api",
    "TriggerAuthentication milvaion-rabbitmq",
  ],
};

Deno.test("kubernetes: each kustomization builds, to the whole cluster in its namespace", async () => {
  const folders = files.flatMap(({ path }) => /^(.*)kustomization\.yaml$/.exec(path)?.[1] ?? []);
  assertEquals(folders, Object.keys(BUILDS).map((name) => `${name}/`));
  for (const [name, expected] of Object.entries(BUILDS)) {
    const built = await kustomized(new URL(name, FOLDER));
    const names = built.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    assertEquals(names.sort(), [...expected].sort(), name);
    for (const { kind, metadata } of built) {
      assertEquals(metadata.namespace, kind === "Namespace" ? undefined : "milvaion", metadata.name);
    }
  }
});

Deno.test("kubernetes: a kustomization leaves no manifest of its folder out", () => {
  for (const { path, manifests } of files.filter(({ path }) => path.endsWith("/kustomization.yaml"))) {
    const folder = path.replace("kustomization.yaml", "");
    for (const other of files.filter((one) => one.path.startsWith(folder) && one.path !== path)) {
      const name = other.path.slice(folder.length);
      assert(manifests[0].resources.includes(name), `${path} leaves out ${name}`);
    }
  }
});

Deno.test("kubernetes: what the documents tell to apply can be applied", async () => {
  const root = new URL("../../../", FOLDER);
  const told: string[] = [];
  for (const document of ["README.md", ...files.map(({ path }) => path)]) {
    const text = await Deno.readTextFile(new URL(document, FOLDER));
    told.push(...text.matchAll(/-k (infra\/deploy\/[\w/]+)/g).map(([, path]) => path ?? ""));
    for (const [path] of text.matchAll(/infra\/deploy\/kubernetes[\w./-]*\.ya?ml/g)) {
      assert((await Deno.stat(new URL(path, root))).isFile, `${document}: ${path}`);
    }
  }
  assert(told.length > 0);
  for (const path of new Set(told)) assert((await kustomized(new URL(path, root))).length > 0, path);
});

Deno.test("kubernetes: what each pod is told is a configuration that the program takes, without a warning", async () => {
  for (const name of ["milvaion-api", ...WORKERS]) {
    const deployment = of("Deployment", name);
    const { volumes } = deployment.spec.template.spec;
    const secretName = volumes.find((one: Manifest) => one.name === "secrets").secret.secretName;
    const secrets = of("Secret", secretName).stringData;
    const loaded = await loadConfig({
      file: null,
      // What the images themselves set.
      env: {
        ...(name === "milvaion-api" ? { HOST: "0.0.0.0", PORT: "5000" } : { HEALTH_PORT: "5001" }),
        ...environmentOf(container(deployment)),
      },
      flags: [],
      machine: { cores: 2 },
      readTextFile: (path) => {
        const key = path.replace("/run/secrets/", "");
        assert(key in secrets, `${name} is given ${key}`);
        return Promise.resolve(secrets[key]);
      },
    });
    assert(loaded.ok, `${name}: ${JSON.stringify(loaded)}`);
    assertEquals(loaded.warnings, [], name);
    if (name !== "milvaion-api") {
      assert(loaded.config.Worker.MemoryLimitMb >= 512, `${name} is told its memory limit`);
    }
    const grace: number = deployment.spec.template.spec.terminationGracePeriodSeconds;
    const pause = name === "milvaion-api" ? 5 : 0;
    assert(grace >= loaded.config.Worker.ShutdownGraceSeconds + pause + 10, `${name} has time to stop`);
  }
});

Deno.test("kubernetes: pods are without privileges, with a read-only root, requests, a limit and probes", () => {
  for (const one of all.filter(({ kind }) => kind === "Deployment" || kind === "Job")) {
    const { spec } = one.spec.template;
    const { securityContext, resources, startupProbe, livenessProbe, readinessProbe } = container(one);
    assertEquals([spec.securityContext.runAsNonRoot, spec.automountServiceAccountToken], [true, false]);
    assertEquals(spec.securityContext.seccompProfile, { type: "RuntimeDefault" });
    assertEquals(securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    assert(resources.requests.cpu && resources.requests.memory && resources.limits.memory);
    const secret = spec.volumes.find((volume: Manifest) => volume.name === "secrets").secret;
    assertEquals(secret.defaultMode, 0o440);
    if (one.kind === "Job") continue;
    for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
      const path = probe.httpGet?.path ?? probe.exec.command.at(-1);
      assertEquals(path, probe === readinessProbe ? "/readyz" : "/livez");
    }
  }
});

Deno.test("kubernetes: the guide's HPA, as it is printed there", () => {
  const { spec } = of("HorizontalPodAutoscaler", "email-worker-hpa");
  assertEquals(spec, {
    scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "email-worker" },
    minReplicas: 2,
    maxReplicas: 20,
    metrics: [{
      type: "Resource",
      resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } },
    }],
  });
  // What scales a deployment decides its replicas: the manifest must not set them back.
  assertEquals(of("Deployment", "email-worker").spec.replicas, undefined);
});

Deno.test("kubernetes: the guide's KEDA scaler, as printed for a lab and with its address from a secret", () => {
  const metadata = { queueName: queueName("sendemail.*", null), mode: "QueueLength", value: "100" };
  assertEquals(metadata.queueName, "jobs.sendemail.wildcard");
  const printed = of("ScaledObject", "email-worker-scaler", "lab/");
  assertEquals(printed.spec, {
    scaleTargetRef: { name: "email-worker" },
    minReplicaCount: 1,
    maxReplicaCount: 50,
    triggers: [{
      type: "rabbitmq",
      metadata: { ...metadata, host: "amqp://guest:guest@rabbitmq:5672/" },
    }],
  });
  const secret = of("ScaledObject", "email-worker-scaler", "keda/");
  assertEquals([secret.spec.minReplicaCount, secret.spec.maxReplicaCount], [1, 50]);
  assertEquals(secret.spec.triggers, [{
    type: "rabbitmq",
    metadata,
    authenticationRef: { name: "milvaion-rabbitmq" },
  }]);
  const { spec } = of("TriggerAuthentication", "milvaion-rabbitmq");
  assertEquals(spec.secretTargetRef, [{ parameter: "host", name: "milvaion-worker", key: "amqp_url" }]);
  assertStringIncludes(of("Secret", "milvaion-worker").stringData.amqp_url, "amqp://");
});

Deno.test("kubernetes: the images are those that the Dockerfile makes, at this version", async () => {
  const dockerfile = await Deno.readTextFile(new URL("../Dockerfile", FOLDER));
  const version = /^ARG VERSION=(.*)$/m.exec(dockerfile)?.[1];
  for (const one of all.filter(({ kind }) => kind === "Deployment" || kind === "Job")) {
    const [, target, tag] = /^milvaion\/(\w+):(.*)$/.exec(container(one).image) ?? [];
    assertEquals(tag, version);
    assertMatch(dockerfile, new RegExp(`^FROM runtime AS ${target}$`, "m"));
  }
});

Deno.test("kubernetes: the planner's patch fits each pool, and brings the workers and lanes that it speaks of", async () => {
  for (const pool of WORKERS) {
    const lanes = { process: 20, types: { SendEmailJob: 20 } };
    const patch = parse(manifestOf({ pool, workers: 7, lanes }).kubernetesPatch);
    const deployment = structuredClone(of("Deployment", pool));
    // A strategic merge: containers and variables are merged by their names.
    deployment.spec.replicas = patch.spec.replicas;
    for (const changed of patch.spec.template.spec.containers) {
      const own = deployment.spec.template.spec.containers.find((one: Manifest) => one.name === changed.name);
      assert(own !== undefined, `${pool} has a container ${changed.name}`);
      const names = changed.env.map((entry: Manifest) => entry.name);
      own.env = [...own.env.filter((entry: Manifest) => !names.includes(entry.name)), ...changed.env];
    }
    new Deployment(deployment).validate();
    assertEquals(deployment.spec.replicas, 7);
    const own = Object.entries(environmentOf(container(deployment))).filter(([name]) =>
      !name.endsWith("_FILE")
    );
    const loaded = await loadConfig({
      file: null,
      env: { ...Object.fromEntries(own), REDIS_URL: "redis://redis", AMQP_URL: "amqp://rabbitmq" },
      flags: [],
      machine: { cores: 2 },
      readTextFile: () => Promise.reject(new Deno.errors.NotFound()),
    });
    assert(loaded.ok, JSON.stringify(loaded));
    const { Worker, JobConsumers } = loaded.config;
    assertEquals([Worker.MaxParallelJobs, JobConsumers["SendEmailJob"]?.MaxParallelJobs], [20, 20]);
  }
});

Deno.test("kubernetes: KEDA asks the API for a figure that it answers, of the pool that it scales", () => {
  const { spec } = of("ScaledObject", "report-worker-scaler");
  const [trigger] = spec.triggers;
  assertEquals(trigger.type, "metrics-api");
  const { pathname } = new URL(trigger.metadata.url);
  const environment = environmentOf(container(of("Deployment", spec.scaleTargetRef.name)));
  assertEquals(pathname, `/api/v1/pools/${environment["Worker__WorkerId"]}/scaling`);
  assert(trigger.metadata.valueLocation in scalingView.shape);
  // One replica for each that is wanted.
  assertEquals(trigger.metadata.targetValue, "1");
});

Deno.test("kubernetes: Prometheus is told where /metrics is, and the token without which it answers 401", async () => {
  const api = of("Deployment", "milvaion-api");
  const { labels, annotations } = api.spec.template.metadata;
  const [port] = container(api).ports;
  // An annotation can name no token: a scraper that goes by it would get 401 for ever.
  assertEquals(Object.keys(annotations ?? {}).filter((name) => name.startsWith("prometheus.io/")), []);
  const secretName =
    api.spec.template.spec.volumes.find((one: Manifest) => one.name === "secrets").secret.secretName;
  const tokenFile = environmentOf(container(api))["MILVAION_API_TOKEN_FILE"] ?? "";
  const key = tokenFile.replace("/run/secrets/", "");
  assert(key in of("Secret", secretName).stringData);

  const { spec } = of("ServiceMonitor", "milvaion-api");
  const service = of("Service", "milvaion-api");
  assertEquals(spec.selector.matchLabels, service.metadata.labels);
  const authorization = { type: "Bearer", credentials: { name: secretName, key } };
  assertEquals(spec.endpoints, [{ port: service.spec.ports[0].name, path: "/metrics", authorization }]);

  // Without the operator: the same, found by the labels of the pods.
  const text = await Deno.readTextFile(new URL("prometheus/scrape_config.yml", FOLDER));
  const [scrape] = parse(text).scrape_configs;
  assertEquals([scrape.metrics_path ?? "/metrics", scrape.scheme ?? "http"], ["/metrics", "http"]);
  assertEquals(scrape.kubernetes_sd_configs, [{ role: "pod", namespaces: { names: ["milvaion"] } }]);
  assertEquals(scrape.authorization.credentials_file.split("/").at(-1), key);
  const kept = new Map(
    scrape.relabel_configs.filter(({ action }: Manifest) => action === "keep")
      .map(({ source_labels: [source], regex }: Manifest) => [source, regex]),
  );
  const wanted: [string, string][] = Object.entries(labels as Record<string, string>)
    .map(([name, value]) => [`__meta_kubernetes_pod_label_${name.replace(/[^A-Za-z0-9_]/g, "_")}`, value]);
  assertEquals(kept, new Map([...wanted, ["__meta_kubernetes_pod_container_port_name", port.name]]));
});
