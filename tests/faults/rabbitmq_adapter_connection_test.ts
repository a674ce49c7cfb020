/** The RabbitMQ adapters with nobody at the other end: no broker, one that ends connections, no API instance. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { type AddressInfo, createServer, type Server } from "node:net";
import { systemClock, systemRandom } from "../../infra/clock.ts";
import { Link } from "../../infra/rabbitmq/link.ts";
import { openRabbit } from "../../infra/rabbitmq/rabbit.ts";
import { message } from "../support/messages.ts";
import { until } from "../support/program.ts";
import { KeptLog } from "../support/quiet.ts";
import { openTestRabbit, STORE_ID } from "../support/rabbit.ts";
import { DEAF, SAMPLE, sharedBrokerTest } from "../support/rabbit_adapter.ts";

Deno.test("rabbitmq: without a broker it opens, rejects calls at once, and closes", async () => {
  const rabbit = await openRabbit({
    url: "amqp://guest:guest@127.0.0.1:1",
    storeId: STORE_ID,
    instanceId: "instance-1",
    role: "both",
    clock: systemClock,
    random: systemRandom,
    log: new KeptLog(),
  });
  assertEquals(rabbit.state().connected, false);
  const calls = [
    rabbit.queue.publish([message(1)]),
    rabbit.queue.consume({ ...SAMPLE, pool: "pool", prefetch: 1 }, () => {}),
    rabbit.parked(),
    rabbit.reports.receive(DEAF),
    rabbit.attempts().hello(),
  ];
  // None waits for its deadline: that would be another sentence.
  const said = await Promise.allSettled(calls);
  for (const one of said) {
    assert(
      one.status === "rejected" && /not connected to RabbitMQ/.test(one.reason.message),
      String(one.status),
    );
  }
  await rabbit.close();
});

for (const [code, level] of [[541, "info"], [320, "warn"]] as const) {
  Deno.test(`rabbitmq: a first connection that the broker ends with ${code} is said as ${level}, and the next as warn`, async () => {
    using broker = await EndingBroker.start(code);
    const log = new KeptLog();
    const link = new Link({ urls: [broker.url], name: "test", clock: systemClock, log });
    await link.open();
    await until(() => broker.ended >= 4, "it tries again and again");
    await link.close();
    const said = log.lines.filter(({ message }) => message.startsWith("Not connected"));
    assertEquals(said.slice(0, 2).map((one) => one.level), [level, "warn"]);
  });
}

sharedBrokerTest(
  "nobody who serves attempts answers: a claim is rejected by its deadline",
  async (prefix) => {
    const worker = await openTestRabbit({ prefix, role: "worker" });
    const answer = await worker.attempts().hello().catch((error: Error) => error.message);
    assertEquals(answer, "Cannot ask for attempts: no API instance answered within 5000 ms");
    await worker.close();
  },
);

/** Speaks just enough AMQP to open a connection, and ends it soon after with a reply code. */
class EndingBroker implements Disposable {
  ended = 0;
  readonly #server: Server;

  private constructor(code: number) {
    const close = method(50, [code >> 8, code & 255, 0, 0, 0, 0, 0]);
    this.#server = createServer((socket) => {
      const answers = new Map([
        ["AMQP", method(10, [0, 9, 0, 0, 0, 0, ...longText("PLAIN"), ...longText("en_US")])], // Start
        ["StartOk", method(30, [0, 0, 0, 2, 0, 0, 0, 0])], // Tune
        ["Open", method(41, [0])], // OpenOk
      ]);
      socket.on("error", () => {});
      socket.on("data", (data) => {
        for (const said of saidIn(data)) {
          socket.write(Uint8Array.from(answers.get(said) ?? []));
          if (said === "CloseOk") socket.end();
          if (said !== "Open") continue;
          // Later, so that whoever opened it listens.
          setTimeout(() => {
            socket.write(Uint8Array.from(close));
            this.ended += 1;
          }, 5);
        }
      });
    });
  }

  static async start(code: number): Promise<EndingBroker> {
    const broker = new EndingBroker(code);
    await new Promise<void>((resolve) => broker.#server.listen(0, "127.0.0.1", resolve));
    return broker;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }
}

/** What a client says in one piece of the stream: its header, and methods of the class "connection". */
function saidIn(data: Buffer): readonly string[] {
  if (data.subarray(0, 4).toString() === "AMQP") return ["AMQP"];
  const names = new Map([[11, "StartOk"], [31, "TuneOk"], [40, "Open"], [51, "CloseOk"]]);
  const said: string[] = [];
  for (let at = 0; at < data.length; at += data.readUInt32BE(at + 3) + 8) {
    said.push(names.get(data[at + 10] ?? 0) ?? "");
  }
  return said;
}

/** A frame of channel 0 with a method of the class "connection". */
function method(id: number, content: readonly number[]): number[] {
  const size = content.length + 4;
  return [1, 0, 0, 0, 0, size >> 8, size & 255, 0, 10, 0, id, ...content, 0xce];
}

function longText(text: string): number[] {
  return [0, 0, 0, text.length, ...Buffer.from(text)];
}
