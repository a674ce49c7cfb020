/** What a seed is like: how many processes, which faults and how often. Drawn anew for each, as swarms are. */
import type { Chance } from "./chance.ts";

export type Server = "store" | "broker" | "cache";
export const SERVERS: readonly Server[] = ["store", "broker", "cache"];

export const HARMS = [
  "kill",
  "freeze",
  "stop",
  "cut-off",
  "silence",
  "store-away",
  "cache-emptied",
  "broker-emptied",
  "slow-disk",
  "clock-step",
] as const;
export type Harm = (typeof HARMS)[number];

export interface CallRates {
  /** Milliseconds there, and again back, on average. 0: none. */
  readonly latencyMs: number;
  /** Nothing was done. */
  readonly refused: number;
  /** It was done, and nobody hears of it: the ambiguous commit. */
  readonly unanswered: number;
  /** It never comes back, and was not done. */
  readonly unheard: number;
  /** It never comes back, and is done after its caller has given up. */
  readonly late: number;
}

export interface MessageRates {
  readonly delayed: number;
  readonly duplicated: number;
  readonly lost: number;
  readonly delayMs: number;
}

export interface Profile {
  /** True: one process with everything, on a store of its own that closes with it. */
  readonly isEmbedded: boolean;
  readonly apis: number;
  readonly workers: number;
  readonly calls: CallRates;
  /** Methods that go wrong far more often than the others. */
  readonly hot: { readonly methods: readonly string[]; readonly share: number };
  readonly messages: MessageRates;
  readonly reports: MessageRates;
  readonly newsLost: number;
  readonly harms: readonly Harm[];
  readonly harmEveryMs: number;
  readonly jobs: number;
  readonly clientEveryMs: number;
  readonly failingRuns: number;
}

const HOT: readonly [string, ...string[]] = [
  "decide",
  "claim",
  "renew",
  "record",
  "publish",
  "announce",
  "reap",
  "postpone",
  "raiseEpoch",
  "renewEpoch",
  "acquire",
  "trigger",
  "cancel",
  "replay",
  "step",
  "sendReports",
  "put",
  "due",
  "recoverable",
  "silentAttempts",
  "consume",
  "list",
];

export function drawProfile(chance: Chance): Profile {
  const isEmbedded = chance.happens(0.2);
  const messages = (part: Chance): MessageRates => ({
    delayed: part.rate(0.5),
    duplicated: part.rate(0.3),
    lost: part.rate(0.02),
    delayMs: part.pick([10, 200, 3000, 20_000]),
  });
  return {
    isEmbedded,
    apis: isEmbedded ? 1 : chance.between(1, 3),
    workers: isEmbedded ? 0 : chance.between(1, 3),
    calls: {
      latencyMs: chance.pick([0, 1, 5, 50]),
      refused: chance.rate(0.02),
      unanswered: isEmbedded ? 0 : chance.rate(0.02),
      unheard: isEmbedded ? 0 : chance.rate(0.01),
      late: isEmbedded ? 0 : chance.rate(0.01),
    },
    hot: {
      methods: Array.from({ length: chance.between(0, 3) }, () => chance.pick(HOT)),
      share: chance.pick([0.05, 0.2, 0.5]),
    },
    messages: messages(chance.of("messages")),
    reports: messages(chance.of("reports")),
    newsLost: chance.rate(0.5),
    harms: HARMS.filter((harm) =>
      chance.happens(0.6) &&
      (!isEmbedded || ["kill", "freeze", "stop", "slow-disk", "clock-step"].includes(harm))
    ),
    harmEveryMs: chance.pick([30_000, 120_000, 600_000, 1_800_000]),
    jobs: chance.between(3, 8),
    clientEveryMs: chance.pick([3000, 15_000, 120_000]),
    failingRuns: chance.rate(0.5),
  };
}
