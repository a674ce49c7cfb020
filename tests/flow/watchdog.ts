/**
 * The watchdog, shown by breaking what it watches: the ledger, the dispatcher, the lead, the due index. One suite, two
 * grounds. Each time it fires with what is behind it, once, and ends when what was broken is whole again.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Alert, AlertKind } from "../../actors/domain/alert.ts";
import type { LiveEvent } from "../../actors/ports/events.ts";
import type { Ledger } from "../../actors/ports/store.ts";
import { ManualClock } from "../../actors/runtime/manual_clock.ts";
import type { Adapters } from "../../infra/adapters.ts";
import type { Ground } from "../support/ground.ts";
import { Node, settle } from "../support/node.ts";
import { askNode } from "../support/node_api.ts";

const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);
const MINUTE = 60_000;

const EACH_MINUTE = { cronExpression: "0 * * * * *", concurrentExecutionPolicy: "Allow" } as const;

/** What of the store is broken now. */
interface Sabotage {
  /** decide answers that all is well and writes nothing. */
  decidesNothing: boolean;
  /** decide moves the job on past its due times, and forgets them. */
  forgets: boolean;
  /** Nobody hears of due jobs. */
  isDeaf: boolean;
  /** Nobody gets the lead. */
  hasNoLead: boolean;
  /** Questions to the due index are not answered until this is undone: the dispatcher stands still. */
  standsStill: boolean;
  /** Answers what was asked meanwhile. */
  readonly unanswered: (() => void)[];
}

function sabotaged(adapters: Adapters, sabotage: Sabotage): Adapters {
  const { ledger } = adapters.store;
  const decide: Ledger["decide"] = (epoch, decisions, now) => {
    if (sabotage.decidesNothing) {
      return Promise.resolve({ ok: true, messages: [], unsent: [], conflicts: [], ended: [] });
    }
    const kept = sabotage.forgets ? decisions.map((one) => ({ ...one, slots: [], ranges: [] })) : decisions;
    return ledger.decide(epoch, kept, now);
  };
  return {
    ...adapters,
    store: {
      ...adapters.store,
      ledger: replaced(ledger, {
        decide,
        pollDueJobs: (now, limit) => sabotage.isDeaf ? Promise.resolve([]) : ledger.pollDueJobs(now, limit),
        renewEpoch: (...args) => sabotage.hasNoLead ? Promise.resolve(false) : ledger.renewEpoch(...args),
      }),
    },
    leases: replaced(adapters.leases, {
      acquire: (...args) => sabotage.hasNoLead ? Promise.resolve(false) : adapters.leases.acquire(...args),
    }),
    dueIndex: replaced(adapters.dueIndex, {
      due: (now, limit) => {
        if (sabotage.standsStill) {
          return new Promise((resolve) => sabotage.unanswered.push(() => resolve([])));
        }
        return sabotage.isDeaf ? Promise.resolve([]) : adapters.dueIndex.due(now, limit);
      },
      nextAt: () => sabotage.isDeaf ? Promise.resolve(null) : adapters.dueIndex.nextAt(),
    }),
  };
}

/** The same port with some of its methods replaced. */
function replaced<T extends object>(port: T, methods: Partial<T>): T {
  return new Proxy(port, {
    get(target, name) {
      const value = Reflect.get(methods, name) ?? Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

class Watched {
  readonly events: Extract<LiveEvent, { type: "alert" }>[] = [];

  constructor(readonly node: Node, readonly clock: ManualClock, readonly sabotage: Sabotage) {
    node.adapters.events.subscribe(["alert"], (events) => {
      for (const event of events) if (event.type === "alert") this.events.push(event);
    });
  }

  alerts(): Promise<readonly Alert[]> {
    return this.node.adapters.store.alerts.list(100);
  }

  async open(): Promise<readonly AlertKind[]> {
    return (await this.alerts()).filter(({ endedAt }) => endedAt === null).map(({ kind }) => kind);
  }

  async pass(minutes: number): Promise<void> {
    await this.clock.advance(minutes * MINUTE);
    await settle(this.node);
  }

  /** Exactly one alert was raised, of this kind: told once to listeners, the log and the counter; gives it. */
  async toldOnce(kind: AlertKind): Promise<Alert> {
    const alerts = await this.alerts();
    assertEquals(alerts.map((one) => [one.kind, one.endedAt]), [[kind, null]]);
    const [alert] = alerts;
    assert(alert !== undefined);
    assertEquals(this.events.map((one) => [one.kind, one.isOpen, one.id]), [[kind, true, alert.id]]);
    const errors = this.node.log.lines.filter(({ level, fields }) => level === "error" && "alert" in fields);
    assertEquals(errors.length, 1);
    assertEquals(this.node.meter.counted.get("watchdog_alerts_total"), 1);
    return alert;
  }

  /** The alert has ended, and listeners were told. */
  async ended(kind: AlertKind): Promise<void> {
    assertEquals(await this.open(), []);
    assertEquals(this.events.map((one) => [one.kind, one.isOpen]), [[kind, true], [kind, false]]);
    assertEquals(this.node.watched?.missingDueTimes, 0);
  }
}

/** Registers the suite. `test` is Deno.test, or one that leaves out what cannot be had. */
export function watchdogSuite(
  name: string,
  openGround: () => Promise<Ground>,
  test: (name: string, fn: () => Promise<void>) => void,
  options: { readonly healthyMinutes: number },
): void {
  const promise = (sentence: string, work: (watched: Watched) => Promise<void>) =>
    test(`${name} watchdog: ${sentence}`, async () => {
      await using ground = await openGround();
      const clock = new ManualClock({ now: START });
      const sabotage: Sabotage = {
        decidesNothing: false,
        forgets: false,
        isDeaf: false,
        hasNoLead: false,
        standsStill: false,
        unanswered: [],
      };
      const replace = (adapters: Adapters) => sabotaged(adapters, sabotage);
      await Node.during({ ground, clock, replace }, (node) => work(new Watched(node, clock, sabotage)));
    });

  for (const how of ["decidesNothing", "isDeaf"] as const) {
    promise(
      how === "isDeaf"
        ? "a dispatcher that never hears of due jobs is noticed, and the alert ends when it hears again"
        : "a ledger that decides nothing is noticed, and the alert ends when it decides again",
      async (watched) => {
        const { node, sabotage } = watched;
        const job = await node.createJob(EACH_MINUTE);
        await watched.pass(2);
        sabotage[how] = true;
        await watched.pass(4);
        const alert = await watched.toldOnce("overdue-due-times");
        const [first] = alert.evidence;
        assertEquals([first?.kind, first?.id, first?.at], ["due-time", job.id, START - 500 + 3 * MINUTE]);
        assertStringIncludes(alert.sentence, "1 job waits");
        assertEquals([alert.severity, node.watched?.missingDueTimes], ["critical", 1]);
        sabotage[how] = false;
        await watched.pass(2);
        await watched.ended("overdue-due-times");
      },
    );
  }

  promise(
    "a row that was moved on past a due time nobody decided is noticed; the alert ends when the job is saved again",
    async (watched) => {
      const { node, sabotage, clock } = watched;
      const job = await node.createJob(EACH_MINUTE);
      await node.createJob(EACH_MINUTE);
      await watched.pass(2);
      sabotage.forgets = true;
      await watched.pass(1);
      sabotage.forgets = false;
      await watched.pass(3);
      const alert = await watched.toldOnce("missing-due-times");
      const missing = START - 500 + 3 * MINUTE;
      assertEquals(
        alert.evidence.map(({ at }) => at),
        [missing, missing],
        "of both jobs, and no other due time",
      );
      assertEquals(node.watched?.missingDueTimes, 2);
      const at = new Date(missing).toISOString();
      const explained = await askNode(node, `jobs/${job.id}/explain?at=${at}`);
      assertEquals(explained.verdict, "forgotten");
      assertStringIncludes(explained.sentence, `nobody decided it`);
      assertStringIncludes(explained.sentence, `(alert ${alert.id})`);
      for (const { id } of alert.evidence) {
        const stored = await node.adapters.store.jobs.get(id);
        assert(stored !== null);
        const saved = await node.adapters.store.jobs.update(
          { ...stored, updatedAt: clock.now() },
          stored.version,
        );
        assert(saved.ok);
      }
      await watched.pass(2);
      await watched.ended("missing-due-times");
      assertEquals((await node.occurrences(job.id)).length, 7);
    },
  );

  promise("that nobody leads is noticed, and the alert ends when somebody does", async (watched) => {
    const { node, sabotage } = watched;
    await node.createJob({});
    await watched.pass(1);
    sabotage.hasNoLead = true;
    await watched.pass(4);
    const alert = await watched.toldOnce("no-leader");
    assertStringIncludes(alert.sentence, "(epoch 1)");
    assertEquals(alert.evidence.map(({ kind }) => kind), ["epoch", "instance"]);
    sabotage.hasNoLead = false;
    await watched.pass(2);
    await watched.ended("no-leader");
  });

  promise(
    "a due index that nobody builds anew is noticed, and the alert ends when it is whole",
    async (watched) => {
      const { node, sabotage } = watched;
      await node.createJob({ executeAt: new Date(START + 60 * MINUTE).toISOString() });
      await watched.pass(1);
      sabotage.standsStill = true;
      await watched.pass(1);
      await node.adapters.dueIndex.clear();
      await watched.pass(4);
      const alert = await watched.toldOnce("due-index-stale");
      assertEquals(alert.severity, "warning");
      sabotage.standsStill = false;
      for (const answer of sabotage.unanswered) answer();
      await watched.pass(2);
      await watched.ended("due-index-stale");
    },
  );

  promise(
    "what was found before a restart is looked after by the next watchdog, and ends",
    async (watched) => {
      const { node, sabotage } = watched;
      await node.createJob(EACH_MINUTE);
      await watched.pass(1);
      sabotage.isDeaf = true;
      await watched.pass(4);
      await watched.toldOnce("overdue-due-times");
      // Another instance, which has found nothing itself: it reads what is open.
      await node.adapters.store.alerts.raise({
        id: node.random.uuid(),
        kind: "missing-due-times",
        severity: "critical",
        sentence: "One is missing.",
        evidence: [{ kind: "due-time", id: node.random.uuid(), at: watched.clock.now() - MINUTE }],
        raisedAt: watched.clock.now(),
        raisedBy: "another instance",
        seenAt: watched.clock.now(),
      });
      sabotage.isDeaf = false;
      await watched.pass(2);
      assertEquals(await watched.open(), []);
    },
  );

  promise(`it is silent over ${options.healthyMinutes} busy minutes`, async (watched) => {
    const { node, clock } = watched;
    const jobs = [];
    for (let index = 0; index < 5; index += 1) jobs.push(await node.createJob(EACH_MINUTE));
    await node.createJob({ cronExpression: "*/20 * * * * *", concurrentExecutionPolicy: "Skip" });
    await node.createJob({ cronExpression: "30 */2 * * * *" });
    await node.createJob({ executeAt: new Date(START + 90_000).toISOString() });
    const [first, second, third] = jobs;
    assert(first !== undefined && second !== undefined && third !== undefined);
    const { store } = node.adapters;
    const part = options.healthyMinutes / 4;
    await watched.pass(part);
    const pause = {
      by: "ann",
      reason: "stocktaking",
      since: clock.now(),
      until: clock.now() + part * MINUTE,
    };
    await store.jobs.setPause(first.id, pause);
    const stored = await store.jobs.get(second.id);
    assert(stored !== null);
    await store.jobs.update({ ...stored, isActive: false, updatedAt: clock.now() }, stored.version);
    await watched.pass(part);
    await store.jobs.remove(third.id);
    await watched.pass(part);
    await node.adapters.dueIndex.clear();
    await watched.pass(part);
    assertEquals(await watched.alerts(), []);
    assertEquals([watched.events, node.watched?.missingDueTimes], [[], 0]);
    const lookedAt = node.watched?.lookedAt ?? 0;
    assert(clock.now() - lookedAt <= 1.5 * MINUTE, "it has looked all the time");
    assertEquals(node.meter.counted.get("watchdog_missing_due_times_total"), undefined);
  });
}
