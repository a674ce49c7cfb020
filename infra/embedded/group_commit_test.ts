import { assertEquals, assertRejects } from "@std/assert";
import { Database, openDatabase } from "./database.ts";
import { GroupCommit, type Participant } from "./group_commit.ts";

class Witness implements Participant {
  commits = 0;
  rollBacks = 0;

  beforeCommit(): void {
    this.commits += 1;
  }
  rolledBack(): void {
    this.rollBacks += 1;
  }
}

async function within(
  body: (group: GroupCommit, database: Database, witness: Witness) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-group-" });
  const database = openDatabase(`${folder}/a.db`, ["CREATE TABLE t (a INTEGER PRIMARY KEY)"]);
  const witness = new Witness();
  const group = new GroupCommit(database, [witness]);
  try {
    await body(group, database, witness);
  } finally {
    await group.close();
    database.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("calls made while a commit is due share it", () =>
  within(async (group, database, witness) => {
    const insert = database.prepare("INSERT INTO t VALUES (?) RETURNING a");
    const answers = await Promise.all([3, 1, 2].map((n) => group.write(() => insert.row(n)?.[0])));
    assertEquals(answers, [3, 1, 2]);
    assertEquals(witness, Object.assign(new Witness(), { commits: 1 }));
  }));

Deno.test("a call that throws is undone alone, the others of its group are committed once", () =>
  within(async (group, database, witness) => {
    const insert = database.prepare("INSERT INTO t VALUES (?)");
    const calls = [[1], [2, 1], [3, 3], [4]].map((numbers) =>
      group.write(() => {
        for (const number of numbers) insert.execute(number);
      })
    );
    const settled = await Promise.allSettled(calls);
    assertEquals(settled.map((one) => one.status), ["fulfilled", "rejected", "rejected", "fulfilled"]);
    assertEquals(database.prepare("SELECT a FROM t").rows().map((row) => [...row]), [[1], [4]]);
    assertEquals([witness.commits, witness.rollBacks], [1, 2]);
  }));

Deno.test("a fault of the caller's own code rejects its promise only", () =>
  within(async (group) => {
    const fault = group.write(() => {
      throw new RangeError("own fault");
    });
    const fine = group.write(() => 7);
    await assertRejects(() => fault, RangeError, "own fault");
    assertEquals(await fine, 7);
  }));

Deno.test("a read sees what is committed and nothing of what waits", () =>
  within(async (group, database) => {
    const insert = database.prepare("INSERT INTO t VALUES (?)");
    const count = database.prepare("SELECT count(*) FROM t");
    const written = group.write(() => insert.execute(1));
    assertEquals(await group.read(() => count.row()?.[0]), 0);
    await written;
    assertEquals(await group.read(() => count.row()?.[0]), 1);
  }));

Deno.test("closing commits what waits and refuses what comes after", () =>
  within(async (group, database) => {
    const insert = database.prepare("INSERT INTO t VALUES (?)");
    const written = group.write(() => insert.execute(1));
    await Promise.all([group.close(), written]);
    assertEquals(database.prepare("SELECT count(*) FROM t").row()?.[0], 1);
    await assertRejects(() => group.write(() => 1), Error, "closed");
    await assertRejects(() => group.read(() => 1), Error, "closed");
  }));
