/** Every contract, kept by the embedded adapters. */
import { EmbeddedDueIndex } from "../../infra/embedded/due_index.ts";
import { EmbeddedEvents } from "../../infra/embedded/events.ts";
import { EmbeddedLeases } from "../../infra/embedded/leases.ts";
import { EmbeddedPresence } from "../../infra/embedded/presence.ts";
import { EmbeddedQueue } from "../../infra/embedded/queue.ts";
import { EmbeddedReportQueue } from "../../infra/embedded/report_queue.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { attemptsContract } from "./attempts_contract.ts";
import { clockContract } from "./clock_contract.ts";
import { bulkContract } from "./bulk_contract.ts";
import { concurrencyContract } from "./concurrency_contract.ts";
import { dueIndexContract } from "./due_index_contract.ts";
import { eventsContract } from "./events_contract.ts";
import { factsContract } from "./facts_contract.ts";
import { failedContract } from "./failed_contract.ts";
import { historyContract, lineStoreContract } from "./history_contract.ts";
import { jobStoreContract } from "./job_store_contract.ts";
import { leasesContract } from "./leases_contract.ts";
import { epochContract } from "./epoch_contract.ts";
import { decisionContract } from "./decision_contract.ts";
import { policyContract } from "./policy_contract.ts";
import { recoveryContract } from "./recovery_contract.ts";
import { ledgerModelContract } from "./ledger_model_contract.ts";
import { autoDisableContract } from "./auto_disable_contract.ts";
import { claimContract } from "./claim_contract.ts";
import { reportContract } from "./report_contract.ts";
import { cancelContract } from "./cancel_contract.ts";
import { triggerContract } from "./trigger_contract.ts";
import { retentionContract } from "./retention_contract.ts";
import { oversightContract } from "./oversight_contract.ts";
import { presenceContract } from "./presence_contract.ts";
import { queueContract } from "./queue_contract.ts";
import { reportQueueContract } from "./report_queue_contract.ts";
import { workloadContract } from "./workload_contract.ts";
import type { StoreFactory } from "./store_fixture.ts";

const embeddedStore: StoreFactory = async ({ clock, random }) => {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-contract-" });
  const { store, attempts } = await openEmbeddedStore({ folder, clock, random, log: new KeptLog() });
  return {
    store,
    attempts,
    async close() {
      await store.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
};

jobStoreContract("embedded", embeddedStore);
epochContract("embedded", embeddedStore);
decisionContract("embedded", embeddedStore);
policyContract("embedded", embeddedStore);
recoveryContract("embedded", embeddedStore);
ledgerModelContract("embedded", embeddedStore);
concurrencyContract("embedded", embeddedStore);
claimContract("embedded", embeddedStore);
reportContract("embedded", embeddedStore);
cancelContract("embedded", embeddedStore);
triggerContract("embedded", embeddedStore);
retentionContract("embedded", embeddedStore);
failedContract("embedded", embeddedStore);
bulkContract("embedded", embeddedStore);
autoDisableContract("embedded", embeddedStore);
factsContract("embedded", embeddedStore);
attemptsContract("embedded", embeddedStore);
clockContract("embedded", embeddedStore);
historyContract("embedded", embeddedStore);
workloadContract("embedded", embeddedStore);
lineStoreContract("embedded", embeddedStore);
oversightContract("embedded", embeddedStore);

const close = () => Promise.resolve();

queueContract("embedded", ({ bound }) => Promise.resolve({ queue: new EmbeddedQueue(bound), close }));
reportQueueContract(
  "embedded",
  (clock) => Promise.resolve({ reports: new EmbeddedReportQueue(clock), close }),
);
dueIndexContract("embedded", () => Promise.resolve({ index: new EmbeddedDueIndex(), close }));
leasesContract(
  "embedded",
  (clock) => Promise.resolve({ leases: new EmbeddedLeases(clock), pass: (ms) => clock.advance(ms), close }),
);
presenceContract("embedded", (clock, lifetimeMs) =>
  Promise.resolve({
    presence: new EmbeddedPresence(clock, lifetimeMs),
    pass: (ms) => clock.advance(ms),
    close,
  }));
eventsContract("embedded", () => Promise.resolve({ events: new EmbeddedEvents(new KeptLog()), close }));
