/** What the doctor says of RabbitMQ: a well one, queues declared otherwise, and an alarm that is on. */
import { assert, assertEquals } from "@std/assert";
import { connect } from "amqplib";
import { hasFailed } from "../../infra/doctor/doctor.ts";
import { checkOf, examine, rabbitmqAt, statesOf } from "../support/doctor.ts";
import { RabbitmqServer } from "../support/rabbitmq_server.ts";
import { serverTest, temporaryVhost } from "../support/servers.ts";

serverTest(
  ["rabbitmq", "rabbitmqctl"],
  "doctor: RabbitMQ is well, and a queue declared otherwise is named",
  async () => {
    await using vhost = await temporaryVhost();
    const well = await examine({ rabbitmq: rabbitmqAt(vhost.url) });
    assertEquals(statesOf(well, "RabbitMQ"), {
      reachable: "ok",
      version: "ok",
      permission: "ok",
      queues: "ok",
      alarms: "ok",
      connections: "unknown",
      credentials: "ok",
      encryption: "ok",
    });
    const model = await connect(vhost.url);
    const channel = await model.createChannel();
    await channel.assertQueue("milvaion.reports", { durable: true });
    await model.close();
    const otherwise = checkOf(await examine({ rabbitmq: rabbitmqAt(vhost.url) }), "RabbitMQ", "queues");
    assertEquals(otherwise.state, "failed");
    assert(otherwise.message.startsWith("milvaion.reports: declared otherwise"), otherwise.message);
    assert(otherwise.nextStep?.includes(`rabbitmqctl delete_queue -p '${vhost.name}' milvaion.reports`));
  },
);

serverTest(
  ["rabbitmq-server", "rabbitmqctl"],
  "doctor: a RabbitMQ with an alarm on is told from one without",
  async () => {
    await using server = await RabbitmqServer.start();
    const rabbitmq = { url: server.url, queueType: "classic" } as const;
    assertEquals(hasFailed(await examine({ rabbitmq })), false);
    await server.ctl("set_vm_memory_high_watermark", "0.00001");
    const found = await examine({ rabbitmq });
    assertEquals(
      [checkOf(found, "RabbitMQ", "alarms").state, checkOf(found, "RabbitMQ", "permission").state],
      [
        "failed",
        "unknown",
      ],
    );
    assert(checkOf(found, "RabbitMQ", "alarms").message.includes("memory"));
  },
);
