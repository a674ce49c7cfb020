import { assertEquals, assertRejects } from "@std/assert";
import { Redis } from "ioredis";
import postgres from "postgres";
import { serverTest, temporaryDatabase, temporaryPrefix, temporaryVhost } from "./servers.ts";
import { shell } from "./processes.ts";

serverTest(["postgres"], "a temporary database is gone at the end, whoever is connected", async () => {
  let url: string;
  {
    await using database = await temporaryDatabase();
    url = database.url;
    const sql = postgres(url, { max: 1 });
    assertEquals((await sql`SELECT 1 AS n`)[0]?.["n"], 1);
    await sql.end();
  }
  const sql = postgres(url, { max: 1 });
  await assertRejects(() => sql`SELECT 1`, Error, "does not exist");
  await sql.end();
});

serverTest(["redis"], "what begins with a temporary prefix is deleted at the end, nothing else", async () => {
  await using other = temporaryPrefix();
  const redis = new Redis(other.url);
  try {
    await redis.set(`${other.prefix}kept`, "1");
    {
      await using own = temporaryPrefix();
      await redis.set(`${own.prefix}a`, "1");
      await redis.zadd(`${own.prefix}b`, 1, "x");
      assertEquals(await redis.exists(`${own.prefix}a`, `${own.prefix}b`), 2);
      await own[Symbol.asyncDispose]();
      assertEquals(await redis.exists(`${own.prefix}a`, `${own.prefix}b`), 0);
    }
    assertEquals(await redis.exists(`${other.prefix}kept`), 1);
  } finally {
    redis.disconnect();
  }
});

serverTest(["rabbitmq", "rabbitmqctl"], "a temporary vhost is there, and gone at the end", async () => {
  const vhosts = () => shell("rabbitmqctl --quiet list_vhosts name").then((text) => text.split("\n"));
  let name: string;
  {
    await using vhost = await temporaryVhost();
    name = vhost.name;
    assertEquals((await vhosts()).includes(name), true);
  }
  assertEquals((await vhosts()).includes(name), false);
});
