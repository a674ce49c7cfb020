/** An installation is a database: what others on the same server have is theirs. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import postgres from "postgres";
import { systemClock } from "../../infra/clock.ts";
import { examine } from "../../infra/doctor/check.ts";
import { postgresExamination } from "../../infra/doctor/postgres.ts";
import { API_APPLICATION, applicationName } from "../../infra/postgres/application_name.ts";
import { openStore } from "../support/postgres_world.ts";
import { serverTest, temporaryDatabase } from "../support/servers.ts";

/** Connected as an API instance is, until the end of its block. */
async function apiOf(url: string, instanceId: string): Promise<AsyncDisposable> {
  const sql = postgres(url, {
    max: 1,
    onnotice: () => {},
    connection: { application_name: applicationName(API_APPLICATION, instanceId) },
  });
  await sql`SELECT 1`;
  return { [Symbol.asyncDispose]: () => sql.end() };
}

serverTest(
  ["postgres"],
  "API instances of another database on the same server are counted neither by capacity nor by doctor",
  async () => {
    await using ours = await temporaryDatabase();
    await using theirs = await temporaryDatabase();
    await using opened = await openStore(ours.url, {
      applicationName: applicationName(API_APPLICATION, "ours"),
    });
    await using _one = await apiOf(theirs.url, "theirs-1");
    await using _two = await apiOf(theirs.url, "theirs-2");
    const room = await opened.store.reads.reader("latest").workload.connections();
    assertEquals(room?.apis, 1);
    const found = await examine(
      postgresExamination({
        url: ours.url,
        apiConnections: 10,
        clock: systemClock,
        workers: () => Promise.resolve(0),
      }),
      systemClock,
    );
    const { message } = found.find(({ check }) => check === "connections") ?? { message: "" };
    assertStringIncludes(message, "0 workers × 2 + 1 API instance × 10 = 10,");
  },
);
