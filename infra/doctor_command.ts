/** `milvaion doctor`: looks at everything that is configured, and when asked to at what runs. */
import type { Clock, Random } from "../actors/ports/clock.ts";
import { connect } from "./cli/run_verb.ts";
import type { Command } from "./command_line.ts";
import type { Config } from "./config_schema.ts";
import { formatDoctor, hasFailed, runDoctor } from "./doctor/doctor.ts";
import { doctorSettings } from "./doctor/settings.ts";
import { httpUrl } from "./listen.ts";
import { hasColors, verbWorld } from "./terminal.ts";

/** Its findings as text, and whether all is well enough to start. */
export async function askDoctor(
  { output, running }: Extract<Command, { name: "doctor" }>,
  parts: {
    readonly config: Config;
    readonly env: Readonly<Record<string, string>>;
    readonly clock: Clock;
    readonly random: Random;
  },
): Promise<{ readonly isWell: boolean; readonly text: string }> {
  const { config, env, clock, random } = parts;
  const api = httpUrl("127.0.0.1", config.MilvaionConfig.Api.Port);
  const findings = await runDoctor({
    ...doctorSettings(config),
    running: running === null ? null : {
      stage: running.stage,
      replacesBaseline: running.given.flag("replace-baseline"),
      ask: async (method, path) => {
        const client = await connect(running.given, verbWorld(env), api);
        return (await client.send(method, path)).body;
      },
    },
    clock,
    random,
  });
  return { isWell: !hasFailed(findings), text: formatDoctor(findings, output, hasColors(Deno.stdout, env)) };
}
