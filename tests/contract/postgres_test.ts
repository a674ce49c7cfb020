/**
 * Every contract of the store, kept by PostgreSQL: one database for this file, and a schema for each store that is
 * open, emptied when it is closed.
 */
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { emptySchema } from "../support/postgres_world.ts";
import { KeptLog } from "../support/quiet.ts";
import { serverTest, temporaryDatabase, whyMissing } from "../support/servers.ts";
import { attemptsContract } from "./attempts_contract.ts";
import { clockContract } from "./clock_contract.ts";
import { bulkContract } from "./bulk_contract.ts";
import { factsContract } from "./facts_contract.ts";
import { failedContract } from "./failed_contract.ts";
import { concurrencyContract } from "./concurrency_contract.ts";
import { historyContract, lineStoreContract } from "./history_contract.ts";
import { jobStoreContract } from "./job_store_contract.ts";
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
import { workloadContract } from "./workload_contract.ts";
import type { StoreFactory } from "./store_fixture.ts";

let database: Awaited<ReturnType<typeof temporaryDatabase>> | null = null;
let made = 0;
const empty: string[] = [];

const postgresStore: StoreFactory = async ({ clock, random }) => {
  database ??= await temporaryDatabase();
  const { url } = database;
  const schema = empty.pop() ?? `promises_${made += 1}`;
  const { store, attempts } = await openPostgresStore({
    url,
    schema,
    maxConnections: 4,
    prepare: true,
    migrate: true,
    clock,
    random,
    log: new KeptLog(),
  });
  const close = async () => {
    await store.close();
    await emptySchema(url, schema);
    empty.push(schema);
  };
  return { store, attempts, close };
};

if (whyMissing("postgres") === null) {
  Deno.test.afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
  });
  jobStoreContract("postgres", postgresStore);
  epochContract("postgres", postgresStore);
  decisionContract("postgres", postgresStore);
  policyContract("postgres", postgresStore);
  recoveryContract("postgres", postgresStore);
  ledgerModelContract("postgres", postgresStore);
  concurrencyContract("postgres", postgresStore);
  claimContract("postgres", postgresStore);
  reportContract("postgres", postgresStore);
  cancelContract("postgres", postgresStore);
  triggerContract("postgres", postgresStore);
  retentionContract("postgres", postgresStore);
  failedContract("postgres", postgresStore);
  bulkContract("postgres", postgresStore);
  autoDisableContract("postgres", postgresStore);
  factsContract("postgres", postgresStore);
  historyContract("postgres", postgresStore);
  workloadContract("postgres", postgresStore);
  lineStoreContract("postgres", postgresStore);
  oversightContract("postgres", postgresStore);
  attemptsContract("postgres", postgresStore);
  clockContract("postgres", postgresStore);
} else {
  serverTest(["postgres"], "postgres: every contract of the store", () => {});
}
