/** Every contract of the store, kept by PostgreSQL: one database for this file, a schema for each promise. */
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { serverTest, temporaryDatabase, whyMissing } from "../support/servers.ts";
import { attemptsContract } from "./attempts_contract.ts";
import { historyContract, lineStoreContract } from "./history_contract.ts";
import { jobStoreContract } from "./job_store_contract.ts";
import { ledgerContract } from "./ledger_contract.ts";
import { ledgerModelContract } from "./ledger_model_contract.ts";
import { outcomesContract } from "./outcomes_contract.ts";
import type { StoreFactory } from "./store_fixture.ts";

let database: Awaited<ReturnType<typeof temporaryDatabase>> | null = null;
let schemas = 0;

const postgresStore: StoreFactory = async ({ clock, random }) => {
  database ??= await temporaryDatabase();
  schemas += 1;
  const { store, attempts } = await openPostgresStore({
    url: database.url,
    schema: `promise_${schemas}`,
    maxConnections: 4,
    prepare: true,
    migrate: true,
    clock,
    random,
    log: new KeptLog(),
  });
  return { store, attempts, close: () => store.close() };
};

if (whyMissing("postgres") === null) {
  Deno.test.afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
  });
  jobStoreContract("postgres", postgresStore);
  ledgerContract("postgres", postgresStore);
  ledgerModelContract("postgres", postgresStore);
  outcomesContract("postgres", postgresStore);
  historyContract("postgres", postgresStore);
  lineStoreContract("postgres", postgresStore);
  attemptsContract("postgres", postgresStore);
} else {
  serverTest(["postgres"], "postgres: every contract of the store", () => {});
}
