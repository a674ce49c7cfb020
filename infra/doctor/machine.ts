/** This machine: the port, open files, time zones. */
import { measuredEnvironment } from "../environment.ts";
import { asError, type Check, failed, type Finding, ok, warning } from "./check.ts";

export interface ApiAddress {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
}

const FEW_FILES = 1024;
const LIVE_MS = 1000;

/** Checks of this machine; without `api` nothing listens. */
export function machineChecks(api: ApiAddress | null): readonly Check<null>[] {
  const checks: Check<null>[] = [
    { name: "open files", look: openFiles },
    { name: "time zones", look: timeZones },
  ];
  return api === null ? checks : [{ name: "port", look: () => portFree(api) }, ...checks];
}

async function portFree({ host, port }: ApiAddress): Promise<Finding> {
  if (port === 0) return ok("Any free port is taken.");
  try {
    Deno.listen({ hostname: host, port }).close();
    return ok(`Port ${port} on ${host} is free.`);
  } catch (error) {
    const { message } = asError(error);
    if (error instanceof Deno.errors.AddrInUse) {
      if (await isAlive(host, port)) {
        return ok(`Milvaion, or what answers as it does, runs on ${host}:${port}.`);
      }
      return failed(
        `Port ${port} on ${host} is in use by another program.`,
        "Name another with PORT or --port, or stop what listens there (`ss -ltnp` names it).",
      );
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      return failed(
        `This user may not listen on port ${port}.`,
        "Take a port of 1024 or more and let a proxy listen on the other.",
      );
    }
    return failed(`Cannot listen on ${host}:${port}: ${message}.`, "Check HOST and PORT.");
  }
}

async function isAlive(host: string, port: number): Promise<boolean> {
  const name = host === "0.0.0.0"
    ? "127.0.0.1"
    : host === "::"
    ? "[::1]"
    : host.includes(":")
    ? `[${host}]`
    : host;
  try {
    const answer = await fetch(`http://${name}:${port}/livez`, { signal: AbortSignal.timeout(LIVE_MS) });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false;
  }
}

/** By trying: a program that may not read everything is not told its limit. */
function openFiles(): Promise<Finding> {
  const room = measuredEnvironment({}).openable(FEW_FILES);
  return Promise.resolve(
    room >= FEW_FILES ? ok(`${FEW_FILES} further files and connections can be open at once.`) : warning(
      `Only ${room} further files and connections can be open at once.`,
      "Raise the limit before the start: `ulimit -n 4096`, or LimitNOFILE of the service.",
    ),
  );
}

/** Schedules with a time zone need the rules of that zone, not only its name. */
function timeZones(): Finding {
  const summer = Date.UTC(2026, 6, 1);
  const winter = Date.UTC(2026, 0, 1);
  const hourIn = (zone: string, at: number) =>
    new Intl.DateTimeFormat("en", { timeZone: zone, hour: "numeric", hourCycle: "h23" }).format(at);
  try {
    const isRight = hourIn("Europe/Berlin", summer) === "02" && hourIn("Europe/Berlin", winter) === "01" &&
      hourIn("Asia/Kathmandu", winter) === "05";
    if (isRight) return ok(`${Intl.supportedValuesOf("timeZone").length} time zones are known.`);
  } catch {
    // A zone that is not known at all.
  }
  return failed(
    "The rules of time zones are missing.",
    "Use a Deno with full ICU data, as deno.com offers it.",
  );
}
