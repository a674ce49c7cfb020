/** PostgreSQL goes away in the ways that it has: the cluster waits, and goes on by itself. */
import { delay } from "@std/async";
import { recovers } from "../support/recovery.ts";
import { faultTest } from "../support/under_load.ts";

const AWAY_MS = 3000;
const READ_ONLY_MS = 10_000;

faultTest(
  "PostgreSQL killed and started again, all its connections ended, read-only for ten seconds: nothing is lost or doubled",
  { cluster: { apis: 2, workers: 1 } },
  async (ground) => {
    const { servers: { postgres }, load } = ground;

    await recovers(ground, "stopped at once, back after 3 s", async () => {
      await postgres.stop("immediate");
      await delay(AWAY_MS);
      await postgres.start();
    });
    await load.progress(40);

    await recovers(ground, "all connections ended", () =>
      postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cluster' AND pid <> pg_backend_pid()",
      ));
    await load.progress(40);

    await recovers(ground, "read-only for 10 s", async () => {
      await postgres.sql("ALTER SYSTEM SET default_transaction_read_only = on");
      await postgres.sql("SELECT pg_reload_conf()");
      await delay(READ_ONLY_MS);
      await postgres.sql("ALTER SYSTEM RESET default_transaction_read_only");
      await postgres.sql("SELECT pg_reload_conf()");
    });
    await load.progress(40);
  },
);
