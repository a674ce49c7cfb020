/** What was acknowledged survives SIGKILL at any moment, and a full disk (reliability I30, F32, F33). */
import { DatabaseSync } from "node:sqlite";
import { OCCURRENCE_STATUSES } from "../../actors/domain/occurrence.ts";
import type { StatusCounts } from "../../actors/ports/store.ts";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { openEmbeddedStore } from "../../infra/embedded/store.ts";
import { KeptLog } from "../support/quiet.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import type { Acknowledged } from "./durability_writer.ts";

const WRITER = new URL("./durability_writer.ts", import.meta.url).pathname;
const RUN_WRITER = [
  Deno.execPath(),
  "run",
  "--quiet",
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  WRITER,
] as const;
const ROUNDS = 5;

/** Lets the writer acknowledge this many steps, then kills it. Gives what it acknowledged. */
async function writeAndKill(folder: string, steps: number): Promise<readonly Acknowledged[]> {
  const [program, ...args] = RUN_WRITER;
  const child = new Deno.Command(program, {
    args: [...args, "write", folder],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  let isKilled = false;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (!isKilled && text.split("\n").length > steps) {
      isKilled = true;
      child.kill("SIGKILL");
    }
  }
  await child.status;
  assert(isKilled, "the writer ended by itself");
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Acknowledged);
}

function integrity(path: string): unknown {
  const database = new DatabaseSync(path);
  try {
    return database.prepare("PRAGMA integrity_check").get()?.["integrity_check"];
  } finally {
    database.close();
  }
}

Deno.test("what was acknowledged before SIGKILL is there afterwards, and the folder is free", async () => {
  const folder = await Deno.makeTempDir({ prefix: "milvaion-durability-" });
  /** How far each occurrence had come, in acknowledged words. */
  const acknowledged = new Map<string, number>();
  const rank = ["Queued", "Running", "Completed"];
  for (let round = 0; round < ROUNDS; round += 1) {
    // Other steps each round, so that each kind of write is cut now and then.
    for (const { status, ids } of await writeAndKill(folder, 10 + round * 7)) {
      for (const id of ids) acknowledged.set(id, rank.indexOf(status));
    }
    const { store } = await openEmbeddedStore({
      folder,
      clock: systemClock,
      random: systemRandom,
      log: new KeptLog(),
    });
    for (const [id, least] of acknowledged) {
      const status = (await store.history.occurrence(id))?.occurrence.status ?? "missing";
      assertGreater(rank.indexOf(status), least - 1, `${id} was ${rank[least]} and is ${status}`);
    }
    assertEquals(
      await store.history.counts(),
      await recount(store),
      "the kept totals equal a count of the rows",
    );
    await store.close();
    assertEquals(integrity(`${folder}/milvaion.db`), "ok");
  }
  assertGreater(acknowledged.size, ROUNDS * 20);
  await Deno.remove(folder, { recursive: true });
});

type Opened = Awaited<ReturnType<typeof openEmbeddedStore>>["store"];

async function recount(store: Opened): Promise<StatusCounts> {
  const byStatus = Object.fromEntries(OCCURRENCE_STATUSES.map((status) => [status, 0])) as {
    -readonly [Status in keyof StatusCounts["byStatus"]]: number;
  };
  let after: string | null = null;
  do {
    const page: Awaited<ReturnType<Opened["history"]["occurrences"]>> = await store.history
      .occurrences({}, 200, after);
    for (const one of page.items) byStatus[one.status] += 1;
    after = page.next;
  } while (after !== null);
  const jobs = (await store.jobs.list({}, 1000, null)).items;
  return { jobs: jobs.length, activeJobs: jobs.filter((job) => job.isActive).length, byStatus };
}

/** Mounting needs a user namespace, which some containers refuse. */
function canMount(): boolean {
  try {
    return new Deno.Command("unshare", {
      args: ["-rm", "sh", "-c", "mount -t tmpfs none /mnt"],
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "a full disk refuses writes whole, lets reads through, and is no trouble once there is room (F33)",
  ignore: !canMount(),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "milvaion-full-" });
    const { success, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        "-rm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=4m none "$0" && "$@" fill "$0"',
        folder,
        ...RUN_WRITER,
      ],
    }).output();
    const said = new TextDecoder();
    assert(success, said.decode(stdout) + said.decode(stderr));
    await Deno.remove(folder, { recursive: true });
  },
});
