/** RabbitMQ, looked at with a trial queue that goes again, and with the queues that are there. */
import { Buffer } from "node:buffer";
import type { Clock, Random } from "../../actors/ports/clock.ts";
import { type QueueType, Topology } from "../rabbitmq/topology.ts";
import { type Examination, failed, type Finding, ok, unknown, warning } from "./check.ts";
import { type BrokerError, RabbitmqProbe } from "./rabbitmq_probe.ts";
import { encryption, type ServerAddress, serverAddress } from "./server_address.ts";

export interface RabbitmqQuestions {
  /** Of one node. */
  readonly url: string;
  /** It is one of several. */
  readonly isOfCluster: boolean;
  readonly queueType: QueueType;
  /** Worker processes, as far as known; asked once. */
  readonly workers: () => Promise<number | null>;
  /** Patterns whose queues are looked at, e.g. `sendemail.*`; those that are not there are no fault. */
  readonly routingPatterns: () => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly random: Random;
}

const OLDEST = [3, 10] as const;
/** One publishes, one consumes. */
const CONNECTIONS_A_PROCESS = 2;
const USUAL_LIMIT = 65_535;
const CROWDED = 0.8;

export function rabbitmqExamination(questions: RabbitmqQuestions): Examination<RabbitmqProbe> {
  const { url, queueType, clock, random } = questions;
  const address = serverAddress(url, url.startsWith("amqps:") ? 5671 : 5672);
  const vhost = vhostOf(url);
  return {
    subject: questions.isOfCluster ? `RabbitMQ ${address.place}` : "RabbitMQ",
    reach: () => RabbitmqProbe.reach(url, clock),
    explain: (error) => explainFailure(error, address, vhost),
    checks: [
      { name: "reachable", look: () => ok(`${address.place} answers.`) },
      { name: "version", look: (probe) => version(probe.version, probe.product) },
      {
        name: "permission",
        look: (probe) => permission(probe, { queueType, vhost, user: address.user, id: random.uuid() }),
      },
      {
        name: "queues",
        look: async (probe) =>
          queues(probe, new Topology("", queueType), await questions.routingPatterns(), vhost),
      },
      { name: "alarms", look: alarms },
      { name: "connections", look: async () => connections(await questions.workers()) },
      { name: "credentials", look: () => credentials(address) },
      {
        name: "encryption",
        look: () =>
          encryption(address, url.startsWith("amqps:"), "Use amqps:// in AMQP_URL, and TLS on the server."),
      },
    ],
    leave: (probe) => probe.close(),
  };
}

function vhostOf(url: string): string {
  const path = URL.parse(url)?.pathname ?? "";
  try {
    return path === "" ? "/" : decodeURIComponent(path.slice(1)) || "/";
  } catch {
    return path;
  }
}

function explainFailure({ message, code }: BrokerError, { place }: ServerAddress, vhost: string): Finding {
  if (/ACCESS.REFUSED|\b403\b/.test(message)) {
    return failed(
      `${place} refuses the user: ${firstLine(message)}.`,
      "Check user and password of AMQP_URL.",
    );
  }
  // The client does not pass on why the broker closed instead of opening; there is one reason.
  if (code === 530 || /NOT.ALLOWED|\b530\b|OpenOk; got <ConnectionClose/.test(message)) {
    return failed(
      `${place} does not let this user into vhost ${vhost}, or has no such vhost.`,
      `rabbitmqctl add_vhost '${vhost}', then rabbitmqctl set_permissions -p '${vhost}' <user> '.*' '.*' '.*'`,
    );
  }
  return failed(
    `${place} cannot be reached: ${firstLine(message)}.`,
    "Check that RabbitMQ runs there, that nothing stands between, and AMQP_URL.",
  );
}

function version(text: string, product: string): Finding {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  if (product !== "" && product !== "RabbitMQ") {
    return warning(
      `The broker is ${product} ${text}; only RabbitMQ is tested.`,
      "Use RabbitMQ 3.10 or newer.",
    );
  }
  const isNewEnough = major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
  return isNewEnough
    ? ok(`RabbitMQ ${text}.`)
    : failed(`RabbitMQ ${text} is too old.`, "Move to RabbitMQ 3.10 or newer.");
}

/** Configure, write and read, each by doing it on a trial queue of the configured type. */
async function permission(
  probe: RabbitmqProbe,
  { queueType, vhost, user, id }: {
    readonly queueType: QueueType;
    readonly vhost: string;
    readonly user: string;
    readonly id: string;
  },
): Promise<Finding> {
  const blocked = await probe.blocked().catch(() => null);
  if (blocked !== null) return unknown("Not tried while RabbitMQ takes no messages.");
  const queue = `milvaion.doctor.${id}`;
  const grant = `rabbitmqctl set_permissions -p '${vhost}' ${user || "<user>"} '.*' '.*' '.*'`;
  let step = "declare";
  try {
    await probe.ask((channel) =>
      // Should the doctor be killed in between, the queue goes by itself.
      channel.assertQueue(queue, {
        durable: true,
        arguments: { "x-queue-type": queueType, "x-expires": 60_000 },
      })
    );
    step = "write to";
    await probe.ask(async (channel) => {
      channel.sendToQueue(queue, Buffer.from("trial"));
      await channel.checkQueue(queue); // a refusal of the message ends the channel before this
    });
    step = "read from";
    await probe.ask((channel) => channel.get(queue, { noAck: true }));
    step = "delete";
    await probe.ask((channel) => channel.deleteQueue(queue));
    return ok(`The user may declare, write to and read from ${queueType} queues in vhost ${vhost}.`);
  } catch (error) {
    const { code, message } = error as BrokerError;
    if (code === 403) {
      return failed(`The user may not ${step} queues in vhost ${vhost}: ${refusal(message)}.`, grant);
    }
    const remedy = queueType === "quorum" && step === "declare"
      ? "Enable quorum queues (rabbitmqctl enable_feature_flag quorum_queue), or set " +
        "MilvaionConfig.RabbitMQ.QueueType to classic."
      : "See RabbitMQ's own log.";
    return failed(`Cannot ${step} a ${queueType} queue: ${refusal(message)}.`, remedy);
  } finally {
    if (step !== "declare" && step !== "delete") {
      await probe.ask((channel) => channel.deleteQueue(queue)).catch(() => {}); // it expires
    }
  }
}

/** A queue that was declared otherwise cannot be declared as we need it: it must go first. */
async function queues(
  probe: RabbitmqProbe,
  topology: Topology,
  routingPatterns: readonly string[],
  vhost: string,
): Promise<Finding> {
  const known:
    readonly (readonly [string, (channel: Parameters<Topology["declareParked"]>[0]) => Promise<unknown>])[] =
      [
        [topology.reports, (channel) => topology.declareDurable(channel, topology.reports)],
        [topology.lines, (channel) => topology.declareDurable(channel, topology.lines)],
        ...[topology.progress, topology.progressStandby].map((name) =>
          [
            name,
            (channel: Parameters<Topology["declareProgress"]>[0]) => topology.declareProgress(channel, name),
          ] as const
        ),
        ...[topology.attempts, topology.attemptsStandby].map((name) =>
          [
            name,
            (channel: Parameters<Topology["declareAttempts"]>[0]) => topology.declareAttempts(channel, name),
          ] as const
        ),
        [topology.parked, (channel) => topology.declareParked(channel)],
        ...routingPatterns.map((pattern) =>
          [
            topology.queue(pattern, null),
            (channel: Parameters<Topology["declareParked"]>[0]) =>
              topology.declareJobQueue(channel, pattern, null),
          ] as const
        ),
      ];
  const found = await Promise.all(known.map(async ([name, declare]) => {
    const isThere = await probe.ask((channel) => channel.checkQueue(name)).then(() => true, isMissing);
    if (!isThere) return { name, isThere, difference: null };
    const difference = await probe.ask(declare).then(() => null, differenceOf);
    return { name, isThere, difference };
  }));
  const other = found.filter(({ difference }) => difference !== null);
  const [first] = other;
  if (first === undefined) {
    const there = found.filter(({ isThere }) => isThere).length;
    return ok(there === 0 ? "No queue is there yet." : `${there} queues are there, declared as needed.`);
  }
  const commands = other.map(({ name }) => `rabbitmqctl delete_queue -p '${vhost}' ${name}`).join("; ");
  return failed(
    `${other.map(({ name }) => name).join(", ")}: declared otherwise than needed (${first.difference}).`,
    `Stop what uses them, then: ${commands}. Occurrences that waited there are published again.`,
  );
}

/** Rethrows whatever is not "no such queue". */
function isMissing(error: BrokerError): false {
  if (error.code === 404) return false;
  throw error;
}

function differenceOf(error: BrokerError): string {
  if (error.code === 406) return refusal(error.message);
  throw error;
}

async function alarms(probe: RabbitmqProbe): Promise<Finding> {
  const reason = await probe.blocked();
  if (reason === null) return ok("RabbitMQ takes messages; no alarm is on.");
  return failed(
    `RabbitMQ takes no messages: ${reason}.`,
    "rabbitmq-diagnostics alarms names it: give it memory or disk space, or raise vm_memory_high_watermark.",
  );
}

/** The limit is not told over AMQP; the scaling guide's is what the broker allows unless somebody changes it. */
export function connections(workers: number | null): Finding {
  const remedy =
    "rabbitmqctl status shows its file descriptors and their limit: each connection needs one. ulimit -n raises it.";
  const wanted = (workers ?? 0) * CONNECTIONS_A_PROCESS;
  const sum = workers === null
    ? `${CONNECTIONS_A_PROCESS} for each process of Milvaion`
    : `${workers} ${workers === 1 ? "worker" : "workers"} × ${CONNECTIONS_A_PROCESS} = ${wanted}, and ` +
      `${CONNECTIONS_A_PROCESS} for each API instance`;
  if (wanted > USUAL_LIMIT * CROWDED) {
    return warning(
      `Many connections are wanted: ${sum}, of ${USUAL_LIMIT.toLocaleString("en")} that are usual.`,
      remedy,
    );
  }
  return unknown(
    `How many connections RabbitMQ allows cannot be seen over AMQP (65,535 are usual). Wanted: ${sum}.`,
    remedy,
  );
}

function credentials({ user, password, isLoopback, place }: ServerAddress): Finding {
  const isGuest = (user === "" || user === "guest") && (password === "" || password === "guest");
  if (!isGuest) return ok("The user is not the one that everybody knows.");
  if (isLoopback) return ok("guest/guest; RabbitMQ lets it in from its own machine only.");
  return warning(
    `${place} is used as guest/guest, which everybody knows.`,
    "rabbitmqctl add_user milvaion <password>, set_permissions for it, delete_user guest; then change AMQP_URL.",
  );
}

function firstLine(message: string): string {
  return (message.split("\n")[0] ?? "").replace(/\.$/, "");
}

/** The broker's own words out of the client's sentence. */
function refusal(message: string): string {
  return firstLine(/with message "(.+)"/s.exec(message)?.[1] ?? message);
}
