import { assertEquals, assertRejects } from "@std/assert";
import postgres from "postgres";
import { PostgresServer } from "./postgres_server.ts";
import { serverTest } from "./servers.ts";

serverTest(
  ["initdb"],
  "a PostgreSQL of one's own keeps what was committed through stop, SIGKILL and SIGSTOP",
  async () => {
    await using server = await PostgresServer.start({ settings: { max_connections: "20" } });
    assertEquals((await server.sql("SHOW max_connections"))[0]?.["max_connections"], "20");
    await server.createDatabase("kept");
    await server.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)", "kept");

    await server.stop("fast");
    await assertRejects(() => server.sql("SELECT 1"));
    await server.start();
    await server.sql("INSERT INTO t VALUES (2)", "kept");
    await server.kill();
    await server.start();
    assertEquals(await server.sql("SELECT count(*)::int AS n FROM t", "kept").then(([row]) => row?.["n"]), 2);

    await server.pause();
    const asked = server.sql("SELECT 3 AS n");
    await assertRejects(() => {
      const sql = postgres(server.url, { max: 1, connect_timeout: 1 });
      return sql`SELECT 1`.finally(() => sql.end({ timeout: 1 }));
    });
    await server.resume();
    assertEquals((await asked)[0]?.["n"], 3);
  },
);
