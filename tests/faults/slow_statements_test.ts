/** Slow statements on a real server: named with pg_stat_statements while they run, and without it what is missing. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { findBottlenecks } from "../../actors/domain/bottleneck.ts";
import { resourceUses } from "../../actors/domain/resource_use.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { Survey } from "../../infra/evidence/survey.ts";
import { createMetrics } from "../../infra/metrics.ts";
import { openPostgresStore } from "../../infra/postgres/store.ts";
import { PostgresServer } from "../support/postgres_server.ts";
import { storeOptions } from "../support/postgres_world.ts";
import { until } from "../support/program.ts";
import { serverTest } from "../support/servers.ts";

const DATABASE = "statements";
const INSTALL = "CREATE EXTENSION pg_stat_statements";

/** What an API instance sees of this server. */
async function withSurvey(server: PostgresServer, work: (survey: Survey) => Promise<void>): Promise<void> {
  const { meter, reader } = createMetrics();
  const opened = await openPostgresStore(
    storeOptions(server.urlOf(DATABASE), { clock: systemClock, random: systemRandom, meter }),
  );
  const { store } = opened;
  const survey = new Survey({
    instanceId: "api-1",
    hostName: "here",
    intervalMs: 100,
    clock: systemClock,
    reader,
    load: () => ({ rssBytes: 1, memoryLimitBytes: null, eventLoopDelayMs: 0, cpu: null }),
    counts: () => store.history.counts(),
    depths: () => Promise.resolve([]),
    workers: () => Promise.resolve([]),
    copies: () => [],
    servers: {
      postgres: () => opened.load(),
      statementTotals: () => opened.statementTotals(),
      statementTexts: (ids) => opened.statementTexts(ids),
      redis: () => Promise.resolve([]),
    },
  });
  try {
    await work(survey);
  } finally {
    survey.stop();
    await store.close();
  }
}

async function named(survey: Survey, text: RegExp) {
  return findBottlenecks(await survey.read())
    .find(({ code, symptom }) => code === "slow-statement" && text.test(symptom));
}

/** Silent over a whole window. */
async function staysSilent(survey: Survey, run: () => Promise<unknown>): Promise<void> {
  await until(async () => {
    await run();
    const { looks } = await survey.read();
    return looks >= 13 && !findBottlenecks(await survey.read()).some(({ code }) => code === "slow-statement");
  }, "no statement is named");
}

serverTest(
  ["initdb"],
  "a slow statement is named with its text while it runs, whether it works or waits for a lock, and quick ones are not",
  async () => {
    await using server = await PostgresServer.start({
      settings: { shared_preload_libraries: "pg_stat_statements" },
    });
    await server.createDatabase(DATABASE);
    await server.sql(INSTALL, DATABASE);
    await withSurvey(server, async (survey) => {
      const run = (text: string) => server.sql(text, DATABASE);
      await run("CREATE TABLE held (number integer)");
      await run("INSERT INTO held VALUES (1)");
      await staysSilent(survey, () => run("SELECT count(*) FROM held"));
      assertEquals((await survey.read()).postgres?.slowStatements, [], "the extension is there");

      const slow = await until(async () => {
        await run("SELECT pg_sleep(0.3)");
        return await named(survey, /pg_sleep/);
      }, "a statement that takes long is named");
      assertMatch(slow.symptom, /takes 3\d\d ms on average: SELECT pg_sleep\(\$1\)/);
      assert((slow.proof[0]?.value ?? 0) >= 300);
      assertMatch(slow.changes.join(" "), /EXPLAIN \(ANALYZE/);

      await until(async () => {
        const held = run("BEGIN; SELECT * FROM held FOR UPDATE; SELECT pg_sleep(0.5); COMMIT");
        await Promise.all([held, run("UPDATE held SET number = number + 1")]);
        return await named(survey, /UPDATE held/);
      }, "a statement that waits for a lock is named");

      // What was slow an hour ago is in the extension's counters for ever, and is not named for ever.
      await staysSilent(survey, () => run("SELECT count(*) FROM held"));
    });
  },
);

serverTest(
  ["initdb"],
  "without pg_stat_statements, or with the extension but not its library, no statement is named and it is said what is missing",
  async () => {
    await using server = await PostgresServer.start();
    await server.createDatabase(DATABASE);
    await withSurvey(server, async (survey) => {
      for (const install of [null, INSTALL]) {
        if (install !== null) await server.sql(install, DATABASE);
        await staysSilent(survey, () => server.sql("SELECT pg_sleep(0.2)", DATABASE));
        const evidence = await survey.read();
        assertEquals(evidence.postgres?.slowStatements, null);
        const note = resourceUses(evidence).find(({ place, resource }) =>
          place === "PostgreSQL" && resource === "cpu"
        )
          ?.note;
        assertStringIncludes(note ?? "", "shared_preload_libraries = 'pg_stat_statements'");
        assertStringIncludes(note ?? "", INSTALL);
      }
    });
  },
);
