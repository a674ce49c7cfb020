/** The API of a node of a flow test. */
import { noEvidence } from "./api.ts";
import { assertEquals } from "@std/assert";
import { createMetrics } from "../../infra/metrics.ts";
import { createApp } from "../../routes/app.ts";
import type { Node } from "./node.ts";

export type NodeServers = readonly { readonly name: string; readonly isConnected: boolean }[];

/** Asks below `/api/v1/`, as an API instance that stands on the node's ports. The answer must be 200. */
export async function askNode(
  node: Node,
  path: string,
  servers: NodeServers = [],
  // deno-lint-ignore no-explicit-any -- answers are read by tests that know them
): Promise<any> {
  const { clock, random, log, jobTypes } = node;
  const { meter, page } = createMetrics();
  const { app, close } = createApp({
    evidence: { read: () => Promise.resolve(noEvidence(0)) },
    ...node.adapters,
    clock,
    random,
    log,
    meter,
    jobTypes,
    metrics: page,
    settings: {
      instanceId: node.instanceId,
      version: "0.0.0",
      host: "127.0.0.1",
      port: 5000,
      allowedHosts: [],
      token: null,
      loopback: true,
      misfireThresholdMs: 60_000,
      leaseMs: 15_000,
      maxJobDataBytes: 256 * 1024,
      storeDescription: "a test",
    },
    servers: () => servers,
    leadership: () => ({ isLeader: node.epoch !== null, epoch: node.epoch }),
    watchdog: () => node.watched,
    upgradeWebSocket: Deno.upgradeWebSocket,
    actors: { snapshot: () => [], deadLetters: 0 },
  });
  const response = await app.request(`/api/v1/${path}`);
  const body = await response.json();
  close();
  assertEquals(response.status, 200, JSON.stringify(body));
  return body;
}
