/** Every contract, kept by the embedded adapters. */
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { historyContract, lineStoreContract } from "./history_contract.ts";
import { jobStoreContract } from "./job_store_contract.ts";
import { ledgerContract } from "./ledger_contract.ts";
import { outcomesContract } from "./outcomes_contract.ts";
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
ledgerContract("embedded", embeddedStore);
outcomesContract("embedded", embeddedStore);
historyContract("embedded", embeddedStore);
lineStoreContract("embedded", embeddedStore);
