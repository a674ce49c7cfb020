/**
 * The one program: reads the command, wires configuration → adapters → supervisor → routes, and waits to be told to
 * stop. What it can do is in `infra/command_table.ts`; `main.ts --help` prints it.
 */
import { defaultRoutingPattern } from "./actors/domain/job_type.ts";
import { createJobTypes, type JobTypes } from "./actors/job_types.ts";
import type { Clock } from "./actors/ports/clock.ts";
import type { Log } from "./actors/ports/log.ts";
import type { Pool } from "./actors/ports/pool.ts";
import type { Presence } from "./actors/ports/presence.ts";
import type { ProcessLoad } from "./actors/ports/process_load.ts";
import { createSystem } from "./actors/runtime/system.ts";
import { type Ports, supervisorActor } from "./actors/supervisor.ts";
import type { WatchdogFigures } from "./actors/watchdog.ts";
import { type Adapters, openAdapters } from "./infra/adapters.ts";
import { EXIT, type ExitCode } from "./infra/cli/exit_code.ts";
import { runVerb } from "./infra/cli/run_verb.ts";
import { systemClock as clock, systemRandom as random } from "./infra/clock.ts";
import { type ClusterAdapters, openCluster, ServerError, type ServerState } from "./infra/cluster.ts";
import { type Command, type ConfigArguments, parseCommandLine } from "./infra/command_line.ts";
import { type Config, loadConfig, problemLine, secretsOf, type SourcedValue } from "./infra/config.ts";
import { isLoopback } from "./infra/config_rules.ts";
import { printConfig } from "./infra/config_print.ts";
import { DataFolderError } from "./infra/embedded/data_folder.ts";
import { askDoctor } from "./infra/doctor_command.ts";
import { EventLoopProbe } from "./infra/evidence/event_loop.ts";
import type { ServerLoads } from "./infra/evidence/look.ts";
import { processLoad } from "./infra/evidence/process_load.ts";
import { ProcessorGauge } from "./infra/evidence/processors.ts";
import { Survey } from "./infra/evidence/survey.ts";
import { checkEnvironment, measuredEnvironment } from "./infra/environment.ts";
import { askHealth } from "./infra/health_command.ts";
import { httpUrl, listen, type OpenDoor, openDoor } from "./infra/listen.ts";
import { createLog } from "./infra/log.ts";
import { createMetrics } from "./infra/metrics.ts";
import { migrate } from "./infra/migrate_command.ts";
import { type ClusterUrls, describeMode } from "./infra/mode.ts";
import { poolSettings } from "./infra/pool_settings.ts";
import {
  drainMs,
  heartbeatMs,
  leaderSettings,
  typeDefaults,
  watchdogSettings,
} from "./infra/role_settings.ts";
import { realScheduler } from "./infra/scheduler.ts";
import { startText } from "./infra/start_text.ts";
import { type StopSignal, stopSignal } from "./infra/stop_signal.ts";
import { hasColors, verbWorld, writeText } from "./infra/terminal.ts";
import { createApp } from "./routes/app.ts";
import type { ApiDeps } from "./routes/deps.ts";
import { sha256 } from "./routes/guard.ts";
import { startingAnswer } from "./routes/starting.ts";
import { workerHealth } from "./routes/worker_health.ts";
import { runDiscovery } from "./workers/discover.ts";
import { DiscoveryError } from "./workers/discovery.ts";
import { hostLimits, runHost } from "./workers/host.ts";
import { createPool } from "./workers/pool.ts";

const VERSION = "0.3.0";
const SAMPLES = new URL(import.meta.resolve("./workers/jobs/samples/")).pathname;
/** What a clean stop may take beyond the grace of running jobs. */
const STOP_MARGIN_MS = 3000;

type Role = "run" | "api" | "worker";

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
    case "doctor":
      return await withSettings(command.config, async ({ config }) => {
        const env = Deno.env.toObject();
        const { isWell, text } = await askDoctor(command, { config, env, clock, random });
        say(text);
        return isWell ? EXIT.ok : EXIT.config;
      });
    case "health":
      return await withSettings(command.config, async ({ config }) => {
        const { isAlive, message } = await askHealth(config);
        return isAlive ? say(message + "\n") : fail(EXIT.unavailable, message);
      });
    case "migrate":
      return await withSettings(command.config, async ({ config, log }) => {
        const { ok, message } = await migrate(command, { config, clock, log });
        return ok ? say(message + "\n") : fail(EXIT.config, message);
      });
    case "run":
    case "api":
    case "worker":
      return await withSettings(command.config, (settings) => start(command.name, settings));
  }
}

/** A child process of a compiled binary; `deno run` starts the modules themselves. */
async function host([module, ...limits]: readonly string[]): Promise<never> {
  return module === "discover" ? await runDiscovery() : await runHost(hostLimits(limits));
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
    if (
      error instanceof DataFolderError || error instanceof DiscoveryError || error instanceof ServerError
    ) {
      return fail(EXIT.config, error.message);
    }
    throw error;
  }
}

/** An instance of the program: API with leader, worker, or both, until a signal. */
async function start(role: Role, { config, log }: Settings): Promise<ExitCode> {
  const mode = describeMode(config, role);
  if (!mode.ok) return fail(EXIT.config, mode.message);
  const machine = checkEnvironment(measuredEnvironment(Deno.env.toObject()));
  if (machine.problems.length > 0) return fail(EXIT.config, machine.problems.map(problemLine).join("\n"));
  for (const warning of machine.warnings) log.warn(warning);
  const instance: Instance = {
    role,
    config,
    log,
    id: `${Deno.hostname()}-${random.uuid().slice(-12)}`,
    signals: stopSignal(),
    metrics: createMetrics(),
  };
  return mode.mode === "embedded" ? await startEmbedded(instance) : await startCluster(instance, mode.urls);
}

interface Instance {
  readonly role: Role;
  readonly config: Config;
  readonly log: Log;
  /** Unique for each start of the process. */
  readonly id: string;
  readonly signals: StopSignal;
  readonly metrics: ReturnType<typeof createMetrics>;
}

async function startEmbedded(instance: Instance): Promise<ExitCode> {
  const { config, log } = instance;
  const [opened, discovered] = await Promise.allSettled([
    openAdapters({
      dataDir: config.MilvaionConfig.DataDir,
      heartbeatMs: heartbeatMs(config),
      clock,
      random,
      log,
      meter: instance.metrics.meter,
    }),
    createPool({ ...poolSettings(config, SAMPLES), clock, log }),
  ]);
  if (opened.status === "rejected" || discovered.status === "rejected") {
    if (opened.status === "fulfilled") await opened.value.store.close();
    if (discovered.status === "fulfilled") await discovered.value.stop(0);
    throw opened.status === "rejected" ? opened.reason : (discovered as PromiseRejectedResult).reason;
  }
  const adapters = opened.value;
  const pool = discovered.value;
  const door = openDoor(config.MilvaionConfig.Api, startingAnswer);
  if (!door.ok) {
    await Promise.all([pool.stop(0), adapters.store.close()]);
    return fail(EXIT.config, door.message, door.hint);
  }
  return await run(instance, {
    ports: { ...adapters, clock, random, log, meter: instance.metrics.meter },
    api: { adapters, door, jobTypes: jobTypesOf(config, adapters.presence, clock), loads: null },
    pool,
    description: adapters.description,
    soleProcess: true,
    servers: () => [],
    close: () => adapters.store.close(),
  });
}

/** The port is open before the servers are there, so that whoever asks hears what is being waited for. */
async function startCluster(instance: Instance, urls: ClusterUrls): Promise<ExitCode> {
  const { config, log, role, signals } = instance;
  const door = role === "worker" ? null : openDoor(config.MilvaionConfig.Api, startingAnswer);
  if (door?.ok === false) return fail(EXIT.config, door.message, door.hint);
  const stopping = new AbortController();
  void signals.asked.then(() => stopping.abort());
  let jobTypes: JobTypes | null = null;
  let cluster: ClusterAdapters | null = null;
  let pool: Pool | null = null;
  try {
    cluster = await openCluster({
      urls,
      config,
      role,
      instanceId: instance.id,
      patternOf: (jobType) => jobTypes?.routingPattern(jobType) ?? defaultRoutingPattern(jobType),
      knownTypes: () => jobTypes?.known() ?? [],
      waitsFor: (what) => door?.waitsFor(what),
      signal: stopping.signal,
      clock,
      random,
      log,
      meter: instance.metrics.meter,
    });
    const { clock: clusterClock } = cluster;
    if (role !== "api") {
      pool = await createPool({
        ...poolSettings(config, SAMPLES),
        clock,
        log,
        fromMachine: (at) => clusterClock.fromMachine(at),
      });
    }
    jobTypes = jobTypesOf(config, cluster.presence, clusterClock);
    return await run(instance, {
      ports: { ...cluster, clock: clusterClock, random, log, meter: instance.metrics.meter },
      api: door === null || cluster.api === null
        ? null
        : { adapters: { ...cluster, ...cluster.api }, door, jobTypes, loads: cluster.api.loads },
      pool,
      description: cluster.description,
      soleProcess: false,
      servers: cluster.servers,
      close: cluster.close,
    });
  } catch (error) {
    await Promise.all([door?.close(), pool?.stop(0), cluster?.close()]);
    if (stopping.signal.aborted) return EXIT.ok;
    throw error;
  }
}

/** What an instance is made of. */
interface Parts {
  readonly ports: Ports;
  readonly api: {
    readonly adapters: Adapters;
    readonly door: OpenDoor;
    readonly jobTypes: JobTypes;
    /** What servers say of themselves; null without any. */
    readonly loads: ServerLoads | null;
  } | null;
  readonly pool: Pool | null;
  readonly description: string;
  readonly soleProcess: boolean;
  readonly servers: () => readonly ServerState[];
  readonly close: () => Promise<void>;
}

async function run(instance: Instance, parts: Parts): Promise<ExitCode> {
  const { config, log, id, signals } = instance;
  const { Worker, MilvaionConfig: { Api } } = config;
  const { ports, pool } = parts;
  let epoch: number | null = null;
  let watched: WatchdogFigures | null = null;
  const system = createSystem({ clock: ports.clock, random, scheduler: realScheduler });
  const probe = new EventLoopProbe(clock, instance.metrics.meter);
  const load = processLoad({
    probe,
    processors: new ProcessorGauge({ clock, hostsCpuMs: () => pool?.figures().cpuMs ?? 0 }),
    hostsRssBytes: () => pool?.figures().rssBytes ?? 0,
    memoryLimitMb: Worker.MemoryLimitMb,
  });
  const survey = parts.api === null ? null : surveyOf(instance, parts, parts.api, load);
  const api = parts.api === null || survey === null ? null : await openApi(instance, parts, parts.api, {
    evidence: survey,
    leadership: () => ({ isLeader: epoch !== null, epoch }),
    watchdog: () => watched,
    actors: system,
  });
  const health = pool === null || api !== null || Worker.HealthPort === 0 ? null : listen(
    { host: "127.0.0.1", port: Worker.HealthPort },
    workerHealth({
      page: instance.metrics.page,
      pool,
      servers: parts.servers,
      reportsHeldBack: () => ports.reports.heldBack().count,
    }),
  );
  if (health?.ok === false) {
    survey?.stop();
    probe.stop();
    await Promise.all([pool?.stop(0), parts.close()]);
    return fail(
      EXIT.config,
      health.message,
      "Choose another Worker.HealthPort (HEALTH_PORT), or 0 for none.",
    );
  }

  system.spawn(
    "supervisor",
    supervisorActor(ports, {
      instanceId: id,
      leaseMs: Worker.LeaseSeconds * 1000,
      api: parts.api === null ? null : {
        ports: { ...ports, ...parts.api.adapters },
        jobTypes: parts.api.jobTypes,
        ...leaderSettings(config),
        soleProcess: parts.soleProcess,
        onLeading: (leading) => epoch = leading,
        watchdog: { ...watchdogSettings(config), onLooked: (figures) => watched = figures },
      },
      worker: pool === null ? null : {
        pool,
        workerId: Worker.WorkerId,
        hostName: Deno.hostname(),
        version: VERSION,
        maxParallelJobs: Worker.MaxParallelJobs,
        heartbeatIntervalMs: heartbeatMs(config),
        drainMs: drainMs(config),
        load,
      },
    }),
  );
  say(startText({
    version: VERSION,
    api: parts.api === null
      ? null
      : { url: httpUrl(Api.Host, parts.api.door.port), needsToken: Api.Token !== null },
    storeDescription: parts.description,
    worker: pool === null
      ? null
      : { workerId: Worker.WorkerId, maxParallelJobs: Worker.MaxParallelJobs, jobTypes: pool.jobTypes },
  }));

  const ended = await Promise.race([
    signals.asked.then((signal) => ({ why: signal, exitCode: EXIT.ok })),
    system.failed.then(({ path, error }) => ({
      why: `${path} failed: ${error.message}`,
      exitCode: EXIT.software,
    })),
  ]);
  const runs = pool?.figures().busy ?? 0;
  log.info("Stopping", { why: ended.why, runs });
  if (runs > 0) {
    log.info(
      `Runs may end within ${drainMs(config) / 1000} s; told a second time, the program stops at once`,
    );
  }
  survey?.stop();
  probe.stop();
  api?.close();
  const stopped = stopInOrder({
    config,
    closeDoors: async () => {
      await Promise.all([parts.api?.door.close(), health?.server.shutdown()]);
    },
    stopActors: (ms) => system.stop(ms),
    pool,
    close: parts.close,
  });
  const inTime = await Promise.race([stopped.then(() => true), signals.insisted.then(() => false)]);
  if (!inTime) {
    log.warn("Stopping at once: told to a second time. What still ran will be recovered at the next start.");
  }
  log.info("Stopped");
  return ended.exitCode;
}

/** Looks at what runs, for the bottleneck advisor. */
function surveyOf(
  { config, id, metrics }: Instance,
  { ports }: Parts,
  { adapters, jobTypes, loads }: NonNullable<Parts["api"]>,
  load: () => ProcessLoad,
): Survey {
  const { store } = adapters;
  return new Survey({
    instanceId: id,
    hostName: Deno.hostname(),
    intervalMs: config.MilvaionConfig.Bottlenecks.LookIntervalSeconds * 1000,
    clock: ports.clock,
    reader: metrics.reader,
    load,
    counts: () => store.history.counts(),
    depths: () => adapters.queue.depth(),
    workers: () => jobTypes.refresh(),
    copies: () => store.reads.copies(),
    servers: loads,
  });
}

/** Puts the API behind its open door. */
async function openApi(
  instance: Instance,
  parts: Parts,
  { adapters, door, jobTypes }: NonNullable<Parts["api"]>,
  own: Pick<ApiDeps, "leadership" | "watchdog" | "actors" | "evidence">,
): Promise<{ close(): void }> {
  const { Api, JobDispatcher } = instance.config.MilvaionConfig;
  const api = createApp({
    ...parts.ports,
    ...adapters,
    ...own,
    servers: parts.servers,
    jobTypes,
    metrics: instance.metrics.page,
    settings: {
      instanceId: instance.id,
      version: VERSION,
      host: Api.Host,
      port: Api.Port,
      allowedHosts: Api.AllowedHosts,
      token: Api.Token === null ? null : { hash: await sha256(Api.Token) },
      loopback: isLoopback(Api.Host),
      misfireThresholdMs: JobDispatcher.MisfireThresholdSeconds * 1000,
      maxJobDataBytes: Api.MaxJobDataKiB * 1024,
      leaseMs: instance.config.Worker.LeaseSeconds * 1000,
      storeDescription: parts.description,
    },
    upgradeWebSocket: Deno.upgradeWebSocket,
  });
  door.answerWith((request, info) => api.app.fetch(request, { info }));
  return api;
}

/** Intake, then actors (running jobs get their grace), then the hosts, then the servers. */
async function stopInOrder(parts: {
  readonly config: Config;
  readonly closeDoors: () => Promise<void>;
  readonly stopActors: (graceMs: number) => Promise<void>;
  readonly pool: Pool | null;
  readonly close: () => Promise<void>;
}): Promise<void> {
  const { KillGraceSeconds, ShutdownGraceSeconds } = parts.config.Worker;
  const closed = parts.closeDoors();
  await parts.stopActors(ShutdownGraceSeconds * 1000 + STOP_MARGIN_MS);
  await parts.pool?.stop(Math.min(KillGraceSeconds, ShutdownGraceSeconds) * 1000);
  await Promise.race([closed, new Promise<void>((resolve) => clock.timer(STOP_MARGIN_MS, resolve))]);
  await parts.close();
}

function jobTypesOf(config: Config, presence: Presence, at: Clock): JobTypes {
  return createJobTypes({ presence, clock: at, fallback: typeDefaults(config) });
}

function say(text: string): ExitCode {
  writeText(Deno.stdout, text);
  return EXIT.ok;
}

function fail(exitCode: ExitCode, message: string, hint: string | null = null): ExitCode {
  writeText(Deno.stderr, `error: ${message}\n${hint === null ? "" : `hint: ${hint}\n`}`);
  return exitCode;
}
