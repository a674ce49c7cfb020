/** The whole actor system under faults from seeds; see README.md. A seed that fails says how it is replayed. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { type Episode, report, runEpisode } from "./episode.ts";
import { replayOf, simulate } from "./main.ts";
import { MUTANTS } from "./mutants.ts";
import { HARMS, type Profile } from "./profile.ts";

const HOURS = 0.5;
/**
 * Of each kind some: 12 a small and rough cluster, 3 and 26 larger ones, 15 an embedded process, 36 a quiet cluster, 5 and
 * 36 with many replays; in 500_016 the end of all harm cuts a freeze short that excuses what ran on.
 */
const SEEDS = [3, 5, 12, 15, 26, 36, 500_016];
/** Further seeds, drawn anew each time, are tried for so long. Milliseconds. */
const RANDOM_FOR_MS = 15_000;

/** Everything goes wrong, and often, so that little time is needed to see what a mutant breaks. */
const ROUGH: Partial<Profile> = {
  isEmbedded: false,
  apis: 2,
  workers: 2,
  calls: { latencyMs: 5, refused: 0.01, unanswered: 0.02, unheard: 0.005, late: 0.01 },
  messages: { delayed: 0.2, duplicated: 0.2, lost: 0.02, delayMs: 3000 },
  reports: { delayed: 0.2, duplicated: 0.2, lost: 0.01, delayMs: 3000 },
  harms: HARMS,
  harmEveryMs: 20_000,
  clientEveryMs: 3000,
};
const MUTANT_HOURS = 0.2;
/**
 * Tried one after another until one shows the mutant. The one that is seen least, a report that is acknowledged too
 * early, shows in 15 of 200: lost reports are made good by running again.
 */
const MUTANT_SEEDS = 120;

async function keepsItsPromises(seed: number): Promise<Episode> {
  const episode = await runEpisode({ seed, hours: HOURS });
  if (episode.violations.length > 0) {
    throw new Error(
      `${report(episode)}\nReplay: ${replayOf(episode)}`,
    );
  }
  return episode;
}

Deno.test("the same seed gives the same history, another seed another", async () => {
  const [one, again, other] = [
    await runEpisode({ seed: 7, hours: 0.2 }),
    await runEpisode({ seed: 7, hours: 0.2 }),
    await runEpisode({ seed: 9, hours: 0.2 }),
  ];
  assert(one.history.edges.length > 0, "something happened");
  assertEquals([again.hash, again.events], [one.hash, one.events]);
  assertNotEquals(other.hash, one.hash);
});

Deno.test("what is printed replays a history of another length than the usual, the last and shorter one, too", async () => {
  const found: Episode[] = [];
  await simulate({ seed: 7, hours: 0.1875, each: 0.125, onEpisode: (episode) => found.push(episode) });
  assertEquals(found.map(replayOf), [
    "deno task simulate --seed 7 --hours 0.125 --each 0.125",
    "deno task simulate --seed 8 --hours 0.0625 --each 0.0625",
  ]);
  const again = await runEpisode({ seed: 8, hours: 0.0625 });
  assertEquals(again.hash, found[1]?.hash);
});

for (const seed of SEEDS) {
  Deno.test(`simulated seed ${seed} keeps all promises`, async () => {
    await keepsItsPromises(seed);
  });
}

Deno.test("seeds that nobody chose keep all promises", async () => {
  const over = performance.now() + RANDOM_FOR_MS;
  do {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
    await keepsItsPromises(seed);
  } while (performance.now() < over);
});

for (const mutant of MUTANTS) {
  Deno.test(`the simulation notices when ${mutant.what}`, async () => {
    for (let seed = 1; seed <= MUTANT_SEEDS; seed += 1) {
      const { judgement } = await runEpisode({
        seed,
        hours: MUTANT_HOURS,
        mutant,
        profile: ROUGH,
        settleHours: 0.3,
      });
      const broken = judgement.verdicts.filter(({ violations }) => violations.length > 0);
      if (broken.some(({ invariant }) => mutant.breaks.includes(invariant))) return;
    }
    throw new Error(`${MUTANT_SEEDS} seeds, and nothing of ${mutant.breaks.join(", ")} was broken`);
  });
}
