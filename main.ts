/**
 * The one program: reads the command, wires configuration → adapters → supervisor → routes, and waits to be told to
 * stop. What it can do is in `infra/command_table.ts`; `main.ts --help` prints it.
 */
import { createJobTypes } from "./actors/job_types.ts";
import type { Log } from "./actors/ports/log.ts";
import type { Pool } from "./actors/ports/pool.ts";
import { createSystem } from "./actors/runtime/system.ts";
import { supervisorActor } from "./actors/supervisor.ts";
import { type Adapters, openAdapters } from "./infra/adapters.ts";
import { EXIT, type ExitCode } from "./infra/cli/exit_code.ts";
import { runVerb } from "./infra/cli/run_verb.ts";
import { systemClock as clock, systemRandom as random } from "./infra/clock.ts";
import { type Command, type ConfigArguments, parseCommandLine } from "./infra/command_line.ts";
import {
  type Config,
  type ConsumerConfig,
  loadConfig,
  problemLine,
  secretsOf,
  type SourcedValue,
} from "./infra/config.ts";
import { isLoopback } from "./infra/config_rules.ts";
import { printConfig } from "./infra/config_print.ts";
import { DataFolderError } from "./infra/embedded/data_folder.ts";
import { migrateEmbeddedStore } from "./infra/embedded/store.ts";
import { checkEnvironment, measuredEnvironment } from "./infra/environment.ts";
import { listen } from "./infra/listen.ts";
import { createLog } from "./infra/log.ts";
import { createMetrics } from "./infra/metrics.ts";
import { describeMode } from "./infra/mode.ts";
import { realScheduler } from "./infra/scheduler.ts";
import { startText } from "./infra/start_text.ts";
import { stopSignal } from "./infra/stop_signal.ts";
import { hasColors, verbWorld, writeText } from "./infra/terminal.ts";
import { createApp } from "./routes/app.ts";
import { runDiscovery } from "./workers/discover.ts";
import { DiscoveryError } from "./workers/discovery.ts";
import { runHost } from "./workers/host.ts";
import type { ConsumerOptions } from "./workers/job_types.ts";
import { createPool } from "./workers/pool.ts";

const VERSION = "0.1.0";
const SAMPLES = import.meta.resolve("./workers/jobs/samples/");
/** What a clean stop may take beyond the grace of running jobs. */
const STOP_MARGIN_MS = 3000;

interface Settings {
  readonly config: Config;
  readonly sources: ReadonlyMap<string, SourcedValue>;
  readonly log: Log;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<ExitCode> {
  const parsed = parseCommandLine(args);
  if (!parsed.ok) {
    writeText(Deno.stderr, parsed.message);
    return parsed.exitCode;
  }
  return await perform(parsed.command);
}

async function perform(command: Command): Promise<ExitCode> {
  switch (command.name) {
    case "help":
      return say(command.text);
    case "version":
      return say(`milvaion ${VERSION} (Deno ${Deno.version.deno})\n`);
    case "host":
      return await host(command.args);
    case "verb":
      return await runVerb(command.verb, command.given, verbWorld(Deno.env.toObject()));
    case "config print":
      return await withSettings(command.config, ({ sources }) => say(printConfig(sources, command.output)));
    case "migrate":
      return await withSettings(command.config, (settings) => migrate(settings, command.dryRun));
    case "run":
    case "api":
    case "worker":
      return await withSettings(command.config, ({ config, log }) => {
        const mode = describeMode(config, command.name);
        return mode.ok ? run(config, log) : fail(EXIT.config, mode.message);
      });
  }
}

/** A child process of a compiled binary; `deno run` starts the modules themselves. */
async function host([module, memoryLimit]: readonly string[]): Promise<never> {
  return module === "discover" ? await runDiscovery() : await runHost(Number(memoryLimit ?? 0));
}

/** Loads and checks the configuration before anything opens. */
async function withSettings(
  args: ConfigArguments,
  work: (settings: Settings) => Promise<ExitCode> | ExitCode,
): Promise<ExitCode> {
  const env = Deno.env.toObject();
  const loaded = await loadConfig({
    ...args,
    env,
    readTextFile: Deno.readTextFile,
    machine: { cores: navigator.hardwareConcurrency },
  });
  if (!loaded.ok) return fail(EXIT.config, loaded.problems.map(problemLine).join("\n"));
  const { Level, Format } = loaded.config.MilvaionConfig.Logging;
  const log = createLog({
    level: Level,
    format: Format === "auto" ? (Deno.stderr.isTerminal() ? "pretty" : "json") : Format,
    colors: hasColors(Deno.stderr, env),
    secrets: secretsOf(loaded.config),
    now: () => clock.now(),
    write: (line) => writeText(Deno.stderr, line),
  });
  for (const warning of loaded.warnings) log.warn(warning);
  try {
    return await work({ config: loaded.config, sources: loaded.sources, log });
  } catch (error) {
    if (error instanceof DataFolderError || error instanceof DiscoveryError) {
      return fail(EXIT.config, error.message);
    }
    throw error;
  }
}

/** API, leader and worker in this one process, until a signal. */
async function run(config: Config, log: Log): Promise<ExitCode> {
  const { Api, DataDir, JobDispatcher } = config.MilvaionConfig;
  const { Worker } = config;
  const machine = checkEnvironment(measuredEnvironment(Deno.env.toObject()));
  if (machine.problems.length > 0) return fail(EXIT.config, machine.problems.map(problemLine).join("\n"));
  for (const warning of machine.warnings) log.warn(warning);
  const signals = stopSignal();
  const { meter, page } = createMetrics();
  const heartbeatMs = Worker.Heartbeat.IntervalSeconds * 1000;
  const [opened, discovered] = await Promise.allSettled([
    openAdapters({ dataDir: DataDir, heartbeatMs, clock, random, log }),
    createPool(poolOptions(config, log)),
  ]);
  if (opened.status === "rejected" || discovered.status === "rejected") {
    if (opened.status === "fulfilled") await opened.value.store.close();
    if (discovered.status === "fulfilled") await discovered.value.stop(0);
    throw opened.status === "rejected" ? opened.reason : (discovered as PromiseRejectedResult).reason;
  }
  const adapters = opened.value;
  const pool = discovered.value;

  const instanceId = `${Deno.hostname()}-${random.uuid().slice(-12)}`;
  const jobTypes = createJobTypes({
    presence: adapters.presence,
    clock,
    fallback: {
      maxRetries: 3,
      baseRetryDelaySeconds: 5,
      executionTimeoutSeconds: Worker.ExecutionTimeoutSeconds,
    },
  });
  let epoch: number | null = null;
  const system = createSystem({ clock, random, scheduler: realScheduler });
  const ports = { ...adapters, clock, random, log, meter };
  const misfireThresholdMs = JobDispatcher.MisfireThresholdSeconds * 1000;
  const api = createApp({
    ...ports,
    jobTypes,
    metrics: page,
    settings: {
      instanceId,
      version: VERSION,
      host: Api.Host,
      port: Api.Port,
      allowedHosts: Api.AllowedHosts,
      token: Api.Token === null ? null : { hash: await sha256(Api.Token) },
      loopback: isLoopback(Api.Host),
      misfireThresholdMs,
      storeDescription: adapters.description,
    },
    leadership: () => ({ isLeader: epoch !== null, epoch }),
    upgradeWebSocket: Deno.upgradeWebSocket,
    actors: system,
  });
  const listened = listen(
    { host: Api.Host, port: Api.Port },
    (request, info) => api.app.fetch(request, { info }),
  );
  if (!listened.ok) {
    await Promise.all([pool.stop(0), adapters.store.close()]);
    return fail(EXIT.config, listened.message, listened.hint);
  }

  system.spawn(
    "supervisor",
    supervisorActor(ports, {
      instanceId,
      leaseMs: Worker.LeaseSeconds * 1000,
      api: {
        jobTypes,
        lockTtlMs: JobDispatcher.LockTtlSeconds * 1000,
        misfireThresholdMs,
        batchSize: JobDispatcher.BatchSize,
        pollMs: JobDispatcher.PollingIntervalSeconds * 1000,
        soleProcess: adapters.soleProcess,
        onLeading: (leading) => epoch = leading,
      },
      worker: {
        pool,
        workerId: Worker.WorkerId,
        hostName: Deno.hostname(),
        version: VERSION,
        maxParallelJobs: Worker.MaxParallelJobs,
        heartbeatIntervalMs: heartbeatMs,
      },
    }),
  );
  say(startText({
    version: VERSION,
    url: `http://${Api.Host.includes(":") ? `[${Api.Host}]` : Api.Host}:${listened.port}`,
    storeDescription: adapters.description,
    workerId: Worker.WorkerId,
    maxParallelJobs: Worker.MaxParallelJobs,
    jobTypes: pool.jobTypes,
    needsToken: Api.Token !== null,
  }));

  const ended = await Promise.race([
    signals.asked.then((signal) => ({ why: signal, exitCode: EXIT.ok })),
    system.failed.then(({ path, error }) => ({
      why: `${path} failed: ${error.message}`,
      exitCode: EXIT.software,
    })),
  ]);
  log.info("Stopping", { why: ended.why });
  api.close();
  const stopped = stopInOrder({
    config,
    server: listened.server,
    stopActors: (ms) => system.stop(ms),
    pool,
    adapters,
  });
  const inTime = await Promise.race([stopped.then(() => true), signals.insisted.then(() => false)]);
  if (!inTime) {
    log.warn("Stopping at once: told to a second time. What still ran will be recovered at the next start.");
  }
  log.info("Stopped");
  return ended.exitCode;
}

/** Intake, then actors (running jobs get their grace), then the hosts, then the store. */
async function stopInOrder(parts: {
  readonly config: Config;
  readonly server: Deno.HttpServer<Deno.NetAddr>;
  readonly stopActors: (graceMs: number) => Promise<void>;
  readonly pool: Pool;
  readonly adapters: Adapters;
}): Promise<void> {
  const { KillGraceSeconds, ShutdownGraceSeconds } = parts.config.Worker;
  const closed = parts.server.shutdown();
  await parts.stopActors(ShutdownGraceSeconds * 1000 + STOP_MARGIN_MS);
  await parts.pool.stop(Math.min(KillGraceSeconds, ShutdownGraceSeconds) * 1000);
  await Promise.race([closed, new Promise<void>((resolve) => clock.timer(STOP_MARGIN_MS, resolve))]);
  await parts.adapters.store.close();
}

async function migrate({ config }: Settings, dryRun: boolean): Promise<ExitCode> {
  const mode = describeMode(config, "migrate");
  if (!mode.ok) return fail(EXIT.config, mode.message);
  return say(await migrateEmbeddedStore(config.MilvaionConfig.DataDir, { dryRun }) + "\n");
}

function poolOptions(config: Config, log: Log) {
  const { Worker, JobConsumers } = config;
  const own = Worker.JobFolders.map((folder) => absolute(folder));
  return {
    jobFolders: [...Worker.Samples ? [new URL(SAMPLES).pathname] : [], ...own],
    // Who names a folder on the command line means to run what is in it.
    trustedFolders: own,
    ...(Worker.JobTypes.length === 0 ? {} : { types: Worker.JobTypes }),
    maxParallelJobs: Worker.MaxParallelJobs,
    executionTimeoutSeconds: Worker.ExecutionTimeoutSeconds,
    consumers: Object.fromEntries(
      Object.entries(JobConsumers).map(([name, one]) => [name, consumerOptions(one)]),
    ),
    killGraceMs: Worker.KillGraceSeconds * 1000,
    heapLimitMb: Worker.HeapLimitMb,
    clock,
    log,
  };
}

/** The configuration's names in the pool's; keys that nobody gave stay absent. */
function consumerOptions(consumer: ConsumerConfig): ConsumerOptions {
  const { Permissions, ...rest } = consumer;
  const options = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key.charAt(0).toLowerCase() + key.slice(1), value]),
  );
  return { ...options, ...(Permissions === undefined ? {} : { permissions: Permissions }) };
}

function absolute(path: string): string {
  return new URL(path, `file://${Deno.cwd()}/`).pathname;
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function say(text: string): ExitCode {
  writeText(Deno.stdout, text);
  return EXIT.ok;
}

function fail(exitCode: ExitCode, message: string, hint: string | null = null): ExitCode {
  writeText(Deno.stderr, `error: ${message}\n${hint === null ? "" : `hint: ${hint}\n`}`);
  return exitCode;
}
