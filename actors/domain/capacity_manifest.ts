/** What to apply so that a pool has so many workers and lanes: for Kubernetes, for compose, and as environment. */

export interface Manifest {
  /** A patch of the pool's Deployment (infra/deploy/kubernetes). */
  readonly kubernetesPatch: string;
  readonly commands: readonly string[];
  /** Variables of the worker that change; empty when only their number does. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface WantedPool {
  readonly pool: string;
  readonly workers: number;
  /** Lanes of each process, and of types in it; absent leaves them. */
  readonly lanes?: { readonly process: number; readonly types: Readonly<Record<string, number>> } | undefined;
}

/** The namespace of infra/deploy/kubernetes. */
const NAMESPACE = "milvaion";

export function manifestOf({ pool, workers, lanes }: WantedPool): Manifest {
  const environment = lanes === undefined ? {} : {
    Worker__MaxParallelJobs: String(lanes.process),
    ...Object.fromEntries(
      Object.entries(lanes.types).map((
        [jobType, count],
      ) => [`JobConsumers__${jobType}__MaxParallelJobs`, String(count)]),
    ),
  };
  const deployment = deploymentName(pool);
  const variables = Object.entries(environment);
  const patch = [
    `# kubectl -n ${NAMESPACE} patch deployment ${deployment} --patch-file patch.yaml`,
    "# Where HPA or KEDA scales it, its replicas are theirs: raise their maximum instead.",
    "spec:",
    `  replicas: ${workers}`,
    ...(variables.length === 0 ? [] : [
      "  template:",
      "    spec:",
      "      containers:",
      "        - name: worker",
      "          env:",
      ...variables.map(([name, value]) => `            - { name: ${name}, value: "${value}" }`),
    ]),
  ];
  return {
    kubernetesPatch: patch.join("\n") + "\n",
    commands: [
      `kubectl -n ${NAMESPACE} scale deployment ${deployment} --replicas=${workers}`,
      ...(variables.length === 0 ? [] : [
        `kubectl -n ${NAMESPACE} set env deployment/${deployment} ` +
        variables.map(([name, value]) => `${name}=${value}`).join(" "),
      ]),
      `docker compose up -d --scale ${pool}=${workers}`,
    ],
    environment,
  };
}

/** A pool may be called what a Deployment may not. */
function deploymentName(pool: string): string {
  return pool.toLowerCase().replaceAll("_", "-").replace(/^-+|-+$/g, "") || "worker";
}
