/** nginx with our configuration in front of three real API instances of one cluster. */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../support/cluster.ts";
import { LiveClient } from "../support/live_client.ts";
import { Nginx } from "../support/nginx.ts";
import { until } from "../support/program.ts";
import {
  SERVERS,
  serverTest,
  temporaryDatabase,
  temporaryPrefix,
  temporaryVhost,
} from "../support/servers.ts";

const CLIENTS = 6;
const RUNS = 12;

serverTest(
  ["nginx", "postgres", "redis", "rabbitmq", "rabbitmqctl"],
  "behind nginx all instances answer, live events reach the clients of each, and one that is killed is not missed",
  async () => {
    await using database = await temporaryDatabase();
    await using keys = temporaryPrefix();
    await using vhost = await temporaryVhost();
    await using cluster = await Cluster.start({
      servers: { postgres: database.url, redis: SERVERS.redis, amqp: vhost.url },
      redisPrefix: keys.prefix,
      apis: 3,
      workers: 1,
    });
    const ports = cluster.apis.map(({ url }) => Number(new URL(url).port));
    await using nginx = await Nginx.start(ports);

    const answered = new Set<string>();
    for (let times = 0; times < 30; times++) {
      answered.add((await call("GET", "/api/v1/about")).instanceId);
    }
    assertEquals(answered.size, 3, "instances that answered");

    // least_conn gives each instance its share of what stays open.
    const clients = Array.from({ length: CLIENTS }, () => new LiveClient(nginx.url));
    try {
      await subscribed();
      const { id: jobId } = await call("POST", "/api/v1/jobs", {
        displayName: "Seen by all",
        jobType: "SampleJob",
        triggerOnly: true,
        concurrentExecutionPolicy: "Allow",
        jobData: { message: "hi" },
      });
      await everyoneSees(await triggered(jobId, RUNS));

      const dying = await cluster.leader();
      await dying.kill();
      // From the first moment on: no answer is missing.
      for (let times = 0; times < 30; times++) await call("GET", `/api/v1/jobs/${jobId}`);
      await until(() => Promise.resolve(reconnects() > 0), "clients of the killed instance connected again");
      await subscribed();
      assert(reconnects() < CLIENTS, "clients of the other instances did not notice");
      await everyoneSees(await triggered(jobId, RUNS));
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${cluster.output}`, { cause: error });
    } finally {
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
    }

    // deno-lint-ignore no-explicit-any -- JSON of the wire
    async function call(method: string, path: string, body?: unknown): Promise<any> {
      const response = await fetch(nginx.url + path, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers: { "content-type": "application/json", origin: nginx.url },
      });
      const text = await response.text();
      assert(response.ok, `${method} ${path}: ${response.status} ${text}`);
      return JSON.parse(text);
    }

    /** Triggers the job so many times and gives the occurrences. */
    async function triggered(jobId: string, times: number): Promise<readonly string[]> {
      const ids: string[] = [];
      for (let one = 0; one < times; one++) {
        ids.push((await call("POST", `/api/v1/jobs/${jobId}/trigger`, {})).occurrenceId);
      }
      return ids;
    }

    function reconnects(): number {
      return clients.reduce((sum, { connections }) => sum + connections, 0) - CLIENTS;
    }

    async function subscribed(): Promise<void> {
      await until(
        () => Promise.resolve(clients.every((one) => one.isSubscribed)),
        "all clients are subscribed",
      );
    }

    async function everyoneSees(occurrences: readonly string[]): Promise<void> {
      await until(
        () =>
          Promise.resolve(
            clients.every((one) => occurrences.every((id) => one.statusesOf(id).includes("Completed"))),
          ),
        "each client was told that each occurrence is Completed",
      );
    }
  },
);
