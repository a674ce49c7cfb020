/** Rules about processors: a worker's, and the machine's of whoever is there. */
import type { CpuUse, Evidence, WorkerEvidence } from "./bottleneck_evidence.ts";
import { type Bottleneck, percent, type Proof, proof, rounded, severityOf } from "./bottleneck_finding.ts";
import { MACHINE_CPU, machineShares, observerOf } from "./bottleneck_observer.ts";
import { REDIS_CALL_MS, STATEMENT_MS, SYNC_MS } from "./bottleneck_servers.ts";

/** Part of the processors that a worker may use. */
export const WORKER_CPU = { warning: 0.9, critical: 0.98 };
/** On a machine that is full, a worker that takes this part of the processors or more fills it. */
export const WORKER_FILLS_SHARE = 0.25;

interface Computing {
  readonly worker: WorkerEvidence;
  readonly cpu: CpuUse;
  /** Of the processors that it may use. */
  readonly share: number;
}

export function processorRules(evidence: Evidence): readonly Bottleneck[] {
  const machines = machineShares(evidence);
  const filling = evidence.workers.flatMap((worker): readonly Computing[] => {
    const { cpu, hostName } = worker;
    if (cpu === null || cpu.processors <= 0) return [];
    const share = cpu.used / cpu.processors;
    const isMachineFull = (machines.get(hostName) ?? 0) >= MACHINE_CPU.warning;
    return share >= (isMachineFull ? WORKER_FILLS_SHARE : WORKER_CPU.warning) ? [{ worker, cpu, share }] : [];
  });
  const explained = new Set(filling.map(({ worker }) => worker.hostName));
  return [
    ...filling.map((one) => fullWorker(one, machines.get(one.worker.hostName) ?? null, evidence)),
    ...[...machines].filter(([hostName]) => !explained.has(hostName))
      .flatMap(([hostName, share]) => fullMachine(hostName, share, evidence)),
  ];
}

function fullWorker(
  { worker, cpu, share }: Computing,
  machine: number | null,
  evidence: Evidence,
): Bottleneck {
  const { workerId, instanceId, hostName } = worker;
  const isByItself = share >= WORKER_CPU.warning;
  const own = proof(
    "processors",
    cpu.used,
    `of ${cpu.processors} processors`,
    cpu.processors * (isByItself ? WORKER_CPU.warning : WORKER_FILLS_SHARE),
  );
  const pool = workerId.toLowerCase().replaceAll("_", "-");
  return {
    code: "worker-cpu",
    severity: severityOf(Math.max(share, machine ?? 0), WORKER_CPU) ?? "warning",
    place: `${workerId} ${instanceId}`,
    symptom: `Worker CPU full: it takes ${rounded(cpu.used)} of ${
      cpu.processors === 1 ? "1 processor" : `${cpu.processors} processors`
    }${machine === null ? "" : `, and its machine is busy to ${percent(machine)}`}.`,
    proof: [own, ...machineProof(machine), ...lanesOf(evidence)],
    cause: `Job code computes${
      isByItself ? "" : ", and others on its machine take the rest"
    }: more lanes or more workers on this machine make each run slower, not more of them.${
      unreliable(evidence, hostName)
    }`,
    changes: [
      `More machines, not more lanes: kubectl -n milvaion scale deployment ${pool} --replicas=<n>, or the HPA of ` +
      `infra/deploy/kubernetes: kubectl -n milvaion autoscale deployment ${pool} --min=2 --max=20 --cpu-percent=70.`,
      "Types that compute in a pool of their own with as many lanes as processors (the guide's report worker has 4): " +
      `Worker__MaxParallelJobs=${cpu.processors}.`,
      "Keep them off the machines of API, Redis, RabbitMQ and PostgreSQL.",
    ],
  };
}

function fullMachine(hostName: string, share: number, evidence: Evidence): readonly Bottleneck[] {
  const severity = severityOf(share, MACHINE_CPU);
  if (severity === null) return [];
  const workers = evidence.workers.filter((one) => one.hostName === hostName);
  const api = evidence.api?.hostName === hostName ? evidence.api : null;
  const known = workers.reduce((sum, { cpu }) => sum + (cpu?.used ?? 0), api?.cpuShare ?? 0);
  return [{
    code: "machine-cpu",
    severity,
    place: hostName,
    symptom: `No processor free: those of ${hostName} are busy to ${percent(share)}.`,
    proof: [...machineProof(share), proof("instanceAndWorkersThere", known, "processors")],
    cause: `Other programs on the machine: this instance and the workers there take ${
      rounded(known)
    } processors of it.${unreliable(evidence, hostName)}`,
    changes: [
      "top, or kubectl top pods, names them: give Milvaion's processes or the others a machine of their own.",
      'Reserve processors: resources.requests.cpu: "1" in infra/deploy/kubernetes.',
    ],
  }];
}

function machineProof(machine: number | null): readonly Proof[] {
  return machine === null ? [] : [proof("machineBusy", machine, "of its processors", MACHINE_CPU.warning)];
}

function lanesOf({ queues }: Evidence): readonly Proof[] {
  return [
    proof("lanesBusy", queues.reduce((sum, { lanesBusy }) => sum + lanesBusy, 0), "lanes"),
    proof("ready", queues.reduce((sum, { ready }) => sum + ready, 0), "messages"),
  ];
}

/** What this instance measured meanwhile is said, and that nothing follows from it. */
function unreliable(evidence: Evidence, hostName: string): string {
  const { api, redis, postgres, store } = evidence;
  if (api?.hostName !== hostName || !observerOf(evidence).isStarved) return "";
  const late = [
    ["Redis", redis?.call, REDIS_CALL_MS] as const,
    ["PostgreSQL", postgres?.statement, STATEMENT_MS] as const,
    ["the disk", store?.sync, SYNC_MS] as const,
  ].flatMap(([name, latency, { warning }]) =>
    latency && latency.p99Ms >= warning ? [`${name} ${rounded(latency.p99Ms)} ms`] : []
  );
  return late.length === 0
    ? ""
    : ` Late answers seen from here (${
      late.join(", ")
    } for 1 of 100) prove nothing against the servers meanwhile.`;
}
