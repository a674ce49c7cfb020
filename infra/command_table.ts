/** The commands and their options as data: what is parsed is what the help texts say. */
import type { Option } from "./cli/option.ts";
import { CONNECTION_OPTIONS, type Verb } from "./cli/verb.ts";
import { VERBS } from "./cli/verbs.ts";

/** An option that stands for a key of the configuration. */
export interface ConfigOption extends Option {
  readonly key: string;
  /** For flags: the value they give. */
  readonly gives?: boolean;
}

interface Described {
  readonly name: string;
  readonly about: string;
  readonly options: readonly Option[];
  readonly example: string;
  /** Further paragraphs of the command's own help. */
  readonly teaches?: string;
  /** Not listed. */
  readonly isHidden?: boolean;
}

/** A command of the program itself. */
export interface ProgramCommand extends Described {
  readonly kind: "program";
  readonly name:
    | "run"
    | "api"
    | "worker"
    | "migrate"
    | "doctor"
    | "health"
    | "config print"
    | "version"
    | "host";
}

/** A verb that talks HTTP. */
export interface VerbCommand extends Described {
  readonly kind: "verb";
  readonly verb: Verb;
}

const CONFIG_FILE: Option = {
  name: "config",
  kind: "text",
  value: "FILE",
  about: "Configuration file (milvaion.json in the working directory, if there is one)",
};

const DATA_DIR: ConfigOption = {
  name: "data-dir",
  kind: "text",
  value: "FOLDER",
  key: "MilvaionConfig.DataDir",
  about: "Where the data lies (MILVAION_DATA_DIR, else ./milvaion-data)",
};

const LOG_OPTIONS: readonly ConfigOption[] = [
  {
    name: "log-level",
    kind: "text",
    value: "LEVEL",
    choices: ["debug", "info", "warn", "error"],
    key: "MilvaionConfig.Logging.Level",
    about: "debug, info (as it is), warn or error",
  },
  {
    name: "log-format",
    kind: "text",
    value: "FORM",
    choices: ["auto", "json", "pretty"],
    key: "MilvaionConfig.Logging.Format",
    about: "auto (as it is: pretty on a terminal, else JSON), json or pretty",
  },
];

const WORKER_OPTIONS: readonly ConfigOption[] = [
  {
    name: "jobs",
    kind: "list",
    value: "FOLDER",
    key: "Worker.JobFolders",
    about: "Folder with job files of your own; may be repeated",
  },
  {
    name: "types",
    kind: "text",
    value: "A,B",
    key: "Worker.JobTypes",
    about: "Offer only these job types, by name or routing pattern: 'report.*'",
  },
  {
    name: "no-samples",
    kind: "flag",
    gives: false,
    key: "Worker.Samples",
    about: "Do not offer the sample jobs",
  },
];

const API_OPTIONS: readonly ConfigOption[] = [
  {
    name: "port",
    kind: "number",
    value: "N",
    key: "MilvaionConfig.Api.Port",
    about: "Port to listen on (PORT, else 5000); 0 takes any free one",
  },
  {
    name: "host",
    kind: "text",
    value: "ADDRESS",
    key: "MilvaionConfig.Api.Host",
    about: "Address to listen on (HOST, else 127.0.0.1)",
  },
];

const HEALTH_PORT: ConfigOption = {
  name: "health-port",
  kind: "number",
  value: "N",
  key: "Worker.HealthPort",
  about: "Port on 127.0.0.1 of a worker's health answers (HEALTH_PORT, else none)",
};

const RUN_OPTIONS: readonly Option[] = [
  ...WORKER_OPTIONS,
  ...API_OPTIONS,
  DATA_DIR,
  CONFIG_FILE,
  ...LOG_OPTIONS,
];

const RUN_TEACHES = `\
A job is a definition: a job type, its data, and when it is due. When that time
comes it makes an occurrence, which a worker runs in a Web Worker. API, leader
and worker are in this one process; nothing else needs to be installed.

A first job, while it runs:
  curl http://127.0.0.1:5000/api/v1/jobs -H 'content-type: application/json' -d '{
    "displayName":"Hello", "jobType":"SampleJob", "cronExpression":"*/5 * * * * *",
    "jobData":{"message":"hi"} }'
  milvaion occurrences list

A job type of your own is a file in the folder that --jobs names:
  import { defineJob, z } from 'milvaion';
  export default defineJob({
    name: "GreetJob",
    data: z.object({ who: z.string() }),
    run: (ctx) => ctx.log.info(\`Hello, \${ctx.data.who}\`),
  });

Where things are:
  ./milvaion-data   jobs, history and log lines (SQLite). One process at a time;
                    it survives kill -9, and the schedule goes on after a start.
  ./milvaion.json   configuration, if you want any. Every key can also be set in
                    the environment: Worker__MaxParallelJobs=20,
                    JobConsumers__SendEmailJob__MaxRetries=5. The command
                    \`config print\` shows each value and where it came from.

On 127.0.0.1 the API is open to this machine. To listen anywhere else, set
MILVAION_API_TOKEN (or MILVAION_API_TOKEN_FILE) to at least 16 characters.
Ctrl-C stops in order: running jobs get their abort signal and their grace.`;

const SERVERS_TEACHES = `\
The servers are named in the environment, or as MilvaionConfig.Postgres.Url,
Redis.Url and RabbitMQ.Url in milvaion.json. Each has a _FILE form for secrets:
  DATABASE_URL=postgres://user:password@host:5432/milvaion   (?sslmode=require)
  REDIS_URL=redis://:password@host:6379                      (rediss: for TLS)
    redis+cluster://:password@host,host,host                 a Redis Cluster
    redis+sentinel://:password@host,host,host/name           by Sentinel, with
                    REDIS_SENTINEL_PASSWORD where the sentinels want one
  AMQP_URL=amqp://user:password@host:5672/vhost              (amqps: for TLS; nodes: host1,host2)
\`milvaion doctor\` checks each of them and says what to do.`;

const API_TEACHES = `\
Any number of API instances serve any request; one of them leads and decides
what is due. When it ends another one leads: at once after a clean stop, else
after MilvaionConfig.JobDispatcher.LockTtlSeconds. The first instance brings the
database's schema up to date.

${SERVERS_TEACHES}`;

const WORKER_TEACHES = `\
Any number of workers share the jobs of the types they offer: those of the job
folders, or --types of them. Worker.WorkerId names the pool; a job can be pinned
to one. Without DATABASE_URL a worker claims through RabbitMQ from any API
instance and needs no way to the database.

${SERVERS_TEACHES}`;

const PROGRAM_COMMANDS: readonly ProgramCommand[] = [
  {
    kind: "program",
    name: "run",
    about: "Run API, leader and worker in this one process",
    options: RUN_OPTIONS,
    example: "milvaion run --jobs ./my-jobs",
    teaches: RUN_TEACHES,
  },
  {
    kind: "program",
    name: "api",
    about: "Run an API instance of a cluster",
    options: [...API_OPTIONS, CONFIG_FILE, ...LOG_OPTIONS],
    example: "milvaion api --port 5000",
    teaches: API_TEACHES,
  },
  {
    kind: "program",
    name: "worker",
    about: "Run a worker of a cluster",
    options: [...WORKER_OPTIONS, HEALTH_PORT, CONFIG_FILE, ...LOG_OPTIONS],
    example: "milvaion worker --jobs ./my-jobs",
    teaches: WORKER_TEACHES,
  },
  {
    kind: "program",
    name: "migrate",
    about: "Bring the store's schema up to date, or move an embedded store to PostgreSQL",
    options: [
      { name: "dry-run", kind: "flag", about: "Only say what would be done" },
      {
        name: "from",
        kind: "text",
        value: "FOLDER",
        about: "Move the embedded store of this folder into the empty database of DATABASE_URL",
      },
      {
        name: "worker-role",
        kind: "text",
        value: "ROLE",
        about: "Let this role of the database claim and renew, and nothing else",
      },
      DATA_DIR,
      CONFIG_FILE,
      ...LOG_OPTIONS,
    ],
    example: "milvaion migrate --from ./milvaion-data",
  },
  {
    kind: "program",
    name: "doctor",
    about: "Check what is configured, each server included, and say what to do",
    options: [
      { name: "live", kind: "flag", about: "Also ask the running API for its bottlenecks" },
      {
        name: "before-scaling",
        kind: "flag",
        about: "The guide's checklist: bottleneck, throughput baseline (recorded), connections, disk",
      },
      {
        name: "after-scaling",
        kind: "flag",
        about: "The guide's checklist: even load, new bottlenecks, throughput, pool sizes, timeouts",
      },
      {
        name: "replace-baseline",
        kind: "flag",
        about: "With --before-scaling: record the baseline even while next to nothing is done",
      },
      ...RUN_OPTIONS,
      ...CONNECTION_OPTIONS,
    ],
    example: "milvaion doctor --before-scaling",
  },
  {
    kind: "program",
    name: "health",
    about: "Ask the instance on this machine whether it is alive, for container health checks",
    options: [...API_OPTIONS, HEALTH_PORT, CONFIG_FILE, ...LOG_OPTIONS],
    example: "milvaion health --port 5000",
  },
  {
    kind: "program",
    name: "config print",
    about: "Show each value of the configuration and where it came from; secrets are masked",
    options: [...RUN_OPTIONS, ...CONNECTION_OPTIONS.filter(({ name }) => name === "output")],
    example: "milvaion config print",
  },
  {
    kind: "program",
    name: "version",
    about: "Show the versions of the program and of Deno",
    options: [],
    example: "milvaion version",
  },
  {
    kind: "program",
    name: "host",
    about: "An executor host; started by the program itself",
    options: [],
    example: "",
    isHidden: true,
  },
];

const VERB_COMMANDS = VERBS.map((verb): VerbCommand => ({
  kind: "verb",
  verb,
  name: verb.name,
  about: verb.about,
  options: [...verb.options, ...CONNECTION_OPTIONS],
  example: verb.example,
}));

/** Anything that stands first on the command line. */
export type CommandDescription = ProgramCommand | VerbCommand;

/** All commands, in the order of the help text. */
export const COMMANDS: readonly CommandDescription[] = [...PROGRAM_COMMANDS, ...VERB_COMMANDS];
