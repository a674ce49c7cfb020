import { assertEquals } from "@std/assert";
import { manifestOf } from "./capacity_manifest.ts";

Deno.test("more workers are a number of replicas, for Kubernetes and for compose", () => {
  const found = manifestOf({ pool: "email-worker", workers: 5 });
  assertEquals(found.commands, [
    "kubectl -n milvaion scale deployment email-worker --replicas=5",
    "docker compose up -d --scale email-worker=5",
  ]);
  assertEquals(found.environment, {});
  assertEquals(found.kubernetesPatch.includes("replicas: 5"), true);
});

Deno.test("more lanes are variables of the worker, its type's and its process'", () => {
  const lanes = { process: 20, types: { SendEmailJob: 20 } };
  const found = manifestOf({ pool: "email-worker", workers: 2, lanes });
  assertEquals(found.environment, {
    Worker__MaxParallelJobs: "20",
    JobConsumers__SendEmailJob__MaxParallelJobs: "20",
  });
  assertEquals(
    found.kubernetesPatch.split("\n").slice(2).join("\n"),
    `spec:
  replicas: 2
  template:
    spec:
      containers:
        - name: worker
          env:
            - { name: Worker__MaxParallelJobs, value: "20" }
            - { name: JobConsumers__SendEmailJob__MaxParallelJobs, value: "20" }
`,
  );
  assertEquals(
    found.commands[1],
    "kubectl -n milvaion set env deployment/email-worker Worker__MaxParallelJobs=20 " +
      "JobConsumers__SendEmailJob__MaxParallelJobs=20",
  );
});

Deno.test("a pool whose name no Deployment may have gets one that it may", () => {
  assertEquals(
    manifestOf({ pool: "Email_Worker", workers: 1 }).commands[0]?.includes("deployment email-worker"),
    true,
  );
});
