import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DataFolderError } from "./data_folder.ts";
import { openDatabase } from "./database.ts";

async function within(body: (path: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-database-" });
  try {
    body(`${folder}/a.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function refusal(path: string, migrations: readonly string[]): DataFolderError {
  return assertThrows(() => openDatabase(path, migrations).close(), DataFolderError);
}

const FIRST = "CREATE TABLE a (n)";
const SECOND = "CREATE TABLE b (n); INSERT INTO b VALUES (1)";

Deno.test("each migration runs once, in its order", () =>
  within((path) => {
    openDatabase(path, [FIRST]).close();
    openDatabase(path, [FIRST, SECOND]).close();
    const database = openDatabase(path, [FIRST, SECOND]);
    assertEquals(database.prepare("SELECT count(*) FROM b").row()?.[0], 1);
    database.close();
  }));

Deno.test("a migration that fails leaves the schema before it", () =>
  within((path) => {
    openDatabase(path, [FIRST]).close();
    refusal(path, [FIRST, "CREATE TABLE b (n); CREATE TABLE a (n)"]);
    const database = openDatabase(path, [FIRST, SECOND]);
    assertEquals(database.prepare("SELECT count(*) FROM b").row()?.[0], 1);
    database.close();
  }));

Deno.test("B42: a schema newer than the program is refused with both numbers", () =>
  within((path) => {
    openDatabase(path, [FIRST, SECOND]).close();
    const error = refusal(path, [FIRST]);
    assertEquals(error.code, "schema_version");
    assertStringIncludes(error.message, "version 2");
    assertStringIncludes(error.message, "up to 1");
  }));

Deno.test("B54: what is no database is refused, untouched, with the way to recover", () =>
  within((path) => {
    Deno.writeTextFileSync(
      path,
      "this is not a database, but long enough to be looked at as one ".repeat(99),
    );
    const before = Deno.readTextFileSync(path);
    const error = refusal(path, [FIRST]);
    assertEquals(error.code, "corrupt");
    assertStringIncludes(error.message, ".recover");
    assertEquals(Deno.readTextFileSync(path), before);
  }));

Deno.test("B54: a database with a damaged page is refused", () =>
  within((path) => {
    const fill = "CREATE TABLE a (n); INSERT INTO a WITH RECURSIVE c(x) AS " +
      "(SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 5000) SELECT hex(zeroblob(50)) FROM c";
    openDatabase(path, [fill]).close();
    const bytes = Deno.readFileSync(path);
    bytes.fill(0xff, 3 * 4096, 5 * 4096);
    Deno.writeFileSync(path, bytes);
    assertEquals(refusal(path, [fill]).code, "corrupt");
  }));

Deno.test("what is committed goes to a write-ahead log that can be synced apart", () =>
  within((path) => {
    const database = openDatabase(path, [FIRST]);
    assertEquals(database.prepare("PRAGMA journal_mode").row()?.[0], "wal");
    const before = Deno.statSync(`${path}-wal`);
    database.begin();
    database.prepare("INSERT INTO a VALUES (1)").execute();
    database.commit();
    const after = Deno.statSync(`${path}-wal`);
    assertEquals([after.ino, after.size > before.size], [before.ino, true]);
    database.close();
  }));
