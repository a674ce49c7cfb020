/** `deno task simulate --seed 7 --hours 1000`: replays a seed, the same each time. */
import { parseArgs } from "node:util";
import { type Episode, report, runEpisode } from "./episode.ts";

const USAGE = `deno task simulate --seed N --hours H [--each H] [--seeds COUNT]

  --seed N       the first seed; a seed gives the same history each time (default 1)
  --hours H      simulated hours in all (default 24)
  --each H       hours of one history (default 24): every H hours a new installation with the next seed
  --verbose      also prints what each seed was like
`;

/** Runs the seeds from `seed` on until so many hours are simulated. Gives the first that breaks a promise, or null. */
export async function simulate(
  options: {
    readonly seed: number;
    readonly hours: number;
    readonly each: number;
    readonly onEpisode: (episode: Episode, realMs: number) => void;
  },
): Promise<Episode | null> {
  const { seed, hours, each, onEpisode } = options;
  let left = hours;
  for (let number = seed; left > 0; number += 1) {
    const startedAt = performance.now();
    const episode = await runEpisode({ seed: number, hours: Math.min(each, left) });
    onEpisode(episode, performance.now() - startedAt);
    if (episode.violations.length > 0) return episode;
    left -= each;
  }
  return null;
}

/** The command that replays one history, whatever it was one of. */
export function replayOf({ seed, asked }: Pick<Episode, "seed" | "asked">): string {
  return `deno task simulate --seed ${seed} --hours ${asked} --each ${asked}`;
}

function positive(text: string, name: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} is a number above 0, not ${text}`);
  return value;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      hours: { type: "string", default: "24" },
      each: { type: "string", default: "24" },
      verbose: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    Deno.exit(0);
  }
  const each = positive(values.each, "each");
  let simulated = 0;
  const startedAt = performance.now();
  const broken = await simulate({
    seed: positive(values.seed, "seed"),
    hours: positive(values.hours, "hours"),
    each,
    onEpisode(episode, realMs) {
      simulated += episode.hours;
      const { figures } = episode.judgement;
      console.log(
        `seed ${episode.seed}: ${episode.hours.toFixed(1)} h in ${(realMs / 1000).toFixed(1)} s, ` +
          `${figures.occurrences} occurrences, ${figures.runs} runs, ${figures.epochs} epochs, ` +
          `${episode.history.faults.length} faults, ${episode.events} events, history ${
            episode.hash.slice(0, 16)
          }`,
      );
      if (values.verbose) console.log(JSON.stringify(episode.profile));
    },
  });
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `${simulated.toFixed(1)} simulated hours in ${seconds.toFixed(1)} s: ` +
      `${Math.round(simulated * 3600 / seconds)} times faster than time`,
  );
  if (broken !== null) {
    console.error(report(broken));
    console.error(`\nReplay: ${replayOf(broken)}`);
    Deno.exit(1);
  }
}
