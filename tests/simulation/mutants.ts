/**
 * Faults planted in the system by wrapping its ports: each takes away one thing that the design rests on. A simulation
 * that does not notice is worth nothing.
 */
import type { Attempts } from "../../actors/ports/attempts.ts";
import type { Pool } from "../../actors/ports/pool.ts";
import type { Ledger, Outcomes } from "../../actors/ports/store.ts";
import type { Invariant } from "../support/cluster_judge.ts";
import type { Mutant } from "./mutant.ts";

/** The promises of which at least one must be seen broken. */
export interface PlantedMutant extends Mutant {
  readonly breaks: readonly Invariant[];
}

/** The same port with some methods replaced. */
function changed<T extends object>(port: T, change: (port: T) => Partial<T>): T {
  const own = change(port);
  return new Proxy(port, {
    get: (target, name) => Reflect.get(own, name) ?? Reflect.get(target, name, target),
  });
}

function attempts(
  what: string,
  breaks: PlantedMutant["breaks"],
  change: (port: Attempts) => Partial<Attempts>,
) {
  return {
    what,
    breaks,
    ports: (ports) => ({ ...ports, attempts: changed(ports.attempts, change) }),
  } satisfies PlantedMutant;
}

function ledger(what: string, breaks: PlantedMutant["breaks"], change: (port: Ledger) => Partial<Ledger>) {
  return {
    what,
    breaks,
    ports: (ports) => ({
      ...ports,
      store: { ...ports.store, ledger: changed(ports.store.ledger, change) },
    }),
  } satisfies PlantedMutant;
}

function outcomes(
  what: string,
  breaks: PlantedMutant["breaks"],
  change: (port: Outcomes) => Partial<Outcomes>,
) {
  return {
    what,
    breaks,
    ports: (ports) => ({
      ...ports,
      store: { ...ports.store, outcomes: changed(ports.store.outcomes, change) },
    }),
  } satisfies PlantedMutant;
}

function pool(what: string, breaks: PlantedMutant["breaks"], change: (port: Pool) => Partial<Pool>) {
  return { what, breaks, pool: (one) => changed(one, change) } satisfies PlantedMutant;
}

/** Epochs are not heeded: each write carries the newest one. */
async function newestEpoch(port: Ledger, epoch: number): Promise<number> {
  return (await port.epochs(1))[0]?.epoch ?? epoch;
}

export const MUTANTS: readonly PlantedMutant[] = [
  attempts("a claim is granted without compare-and-set", ["granted", "overlap"], (port) => ({
    claim: async (requests, leaseMs) => {
      const answers = await port.claim(requests, leaseMs);
      return requests.map(({ message }, index) => {
        const answer = answers[index];
        return answer?.ok === true ? answer : { ok: true, token: message.token + 1, attempt: 1 };
      });
    },
  })),
  pool("a granted attempt is started twice", ["granted", "overlap"], (port) => ({
    run: (request, listener, after) => {
      port.run(request, { ...listener, ended: () => {}, line: () => {} });
      return port.run(request, listener, after);
    },
  })),
  pool("a run goes on after its lease is lost", ["lease", "overlap"], (port) => ({
    run: (request, listener, after) => {
      const running = port.run(request, listener, after);
      return {
        cancel: (why, message) => why === "lease-lost" ? undefined : running.cancel(why, message),
        recall: () => running.recall(),
      };
    },
  })),
  ledger("the reaper looks at nothing", ["settled"], () => ({
    silentAttempts: () => Promise.resolve([]),
  })),
  ledger("the reaper takes every running attempt for lost at once", ["lease", "overlap"], (port) => ({
    nextActionAt: async () => {
      const [epoch] = await port.epochs(1);
      const running = await port.silentAttempts(Infinity, 100);
      if (epoch !== undefined) await port.reap(epoch.epoch, running, epoch.since, 0.5);
      return await port.nextActionAt();
    },
  })),
  ledger("nobody publishes what was committed and not published", ["settled"], () => ({
    recoverable: () => Promise.resolve([]),
    nextActionAt: () => Promise.resolve(null),
  })),
  ledger("a leader that was followed writes on", ["epochs"], (port) => ({
    decide: async (epoch, decisions, now) =>
      await port.decide(await newestEpoch(port, epoch), decisions, now),
    reap: async (epoch, lost, now, jitter) =>
      await port.reap(await newestEpoch(port, epoch), lost, now, jitter),
    renewEpoch: () => Promise.resolve(true),
  })),
  ledger("a decision leaves out the due times before the last", ["complete"], (port) => ({
    decide: (epoch, decisions, now) =>
      port.decide(epoch, decisions.map((one) => ({ ...one, slots: one.slots.slice(-1), ranges: [] })), now),
  })),
  outcomes("a trigger forgets its key", ["client"], (port) => ({
    trigger: (request) => port.trigger({ ...request, idempotency: null }),
  })),
  outcomes("a report is applied whatever its token", ["stale", "lease", "overlap"], (port) => ({
    record: async (reports, now, jitter) => {
      const tokens = [0, 1, 2, 3];
      const any = reports.flatMap((one) => tokens.map((more) => ({ ...one, token: one.token + more })));
      return await port.record(any, now, jitter);
    },
  })),
  outcomes(
    "a report is acknowledged before it is recorded",
    ["settled", "stale", "lease", "lost"],
    (port) => ({
      record: (reports, now, jitter) =>
        port.record(reports, now, jitter).catch(() => ({
          released: [],
          nextRetryAt: null,
          changed: [],
          stale: 0,
        })),
    }),
  ),
];
