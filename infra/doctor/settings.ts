/** What is configured, for the doctor to look at. */
import type { Config } from "../config.ts";
import { outboxPath } from "../outbox/outbox_folder.ts";
import { partitionsOf, sentinelCredentials } from "../redis_settings.ts";
import type { DoctorOptions } from "./doctor.ts";

/** Whichever mode the configuration makes: servers that are named are looked at, else the embedded store. */
export function doctorSettings(config: Config): Omit<DoctorOptions, "running" | "clock" | "random"> {
  const { DataDir, Api, Postgres, Redis, RabbitMQ } = config.MilvaionConfig;
  const isEmbedded = [Postgres.Url, Redis.Url, RabbitMQ.Url].every((url) => url === null);
  return {
    dataDir: isEmbedded ? DataDir : null,
    outboxDir: isEmbedded ? null : outboxPath(config),
    api: { host: Api.Host, port: Api.Port },
    postgres: Postgres.Url === null ? null : {
      url: Postgres.Url,
      apiConnections: Postgres.MaxConnections,
      readUrls: Postgres.ReadUrls,
      maxReplicaLagSeconds: Postgres.MaxReplicaLagSeconds,
    },
    redis: Redis.Url === null ? null : {
      url: Redis.Url,
      sentinel: sentinelCredentials(config),
      keyPrefix: Redis.KeyPrefix,
      partitions: partitionsOf(config),
    },
    rabbitmq: RabbitMQ.Url === null ? null : { url: RabbitMQ.Url, queueType: RabbitMQ.QueueType },
    workers: null,
  };
}
