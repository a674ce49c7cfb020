/**
 * nginx in front of instances of the test, with infra/deploy/nginx.conf: only where it listens, where it writes and
 * the line that names the instances are put in place of what a container has.
 */
import { freePort } from "./free_port.ts";
import { until } from "./program.ts";
import { shell } from "./processes.ts";

const CONFIGURATION = new URL("../../infra/deploy/nginx.conf", import.meta.url);

export class Nginx implements AsyncDisposable {
  private constructor(
    readonly url: string,
    private readonly folder: string,
    private readonly child: Deno.ChildProcess,
  ) {}

  /** Starts it in front of these ports of 127.0.0.1 and waits until it answers. */
  static async start(instances: readonly number[]): Promise<Nginx> {
    const folder = await Deno.makeTempDir({ prefix: "milvaion-nginx-" });
    // Started by root, nginx works as another user, who must get to its own folders.
    await Deno.chmod(folder, 0o755);
    const port = freePort();
    await Deno.writeTextFile(`${folder}/nginx.conf`, await configuration({ folder, port, instances }));
    const child = new Deno.Command("nginx", {
      args: ["-p", folder, "-e", `${folder}/error.log`, "-c", `${folder}/nginx.conf`, "-g", "daemon off;"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const nginx = new Nginx(`http://127.0.0.1:${port}`, folder, child);
    try {
      await until(async () => await nginx.#isUp(), "nginx answers");
    } catch (error) {
      const log = await Deno.readTextFile(`${folder}/error.log`).catch(() => "");
      await nginx[Symbol.asyncDispose]();
      throw new Error(`Cannot start nginx: ${(error as Error).message}\n${log}`);
    }
    return nginx;
  }

  /** Version and modules, as `nginx -V` says. */
  static version(): Promise<string> {
    return shell("nginx -V 2>&1");
  }

  async #isUp(): Promise<boolean> {
    const response = await fetch(`${this.url}/nginx-health`);
    await response.body?.cancel();
    return response.ok;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGTERM");
    } catch {
      // ended by itself
    }
    await this.child.status;
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function configuration(place: {
  readonly folder: string;
  readonly port: number;
  readonly instances: readonly number[];
}): Promise<string> {
  let text = await Deno.readTextFile(CONFIGURATION);
  const put = (what: RegExp, by: string): void => {
    if (!what.test(text)) throw new Error(`infra/deploy/nginx.conf has nothing like ${what}`);
    text = text.replace(what, by);
  };
  const servers = place.instances.map((port) => `server 127.0.0.1:${port} $1;`).join("\n    ");
  put(/server milvaion-api:5000 resolve ([^;]*);/, servers);
  put(/listen 80;/, `listen 127.0.0.1:${place.port};`);
  put(/\/tmp\//g, `${place.folder}/`);
  put(/\/dev\/stdout/, `${place.folder}/access.log`);
  put(/error_log stderr/, `error_log ${place.folder}/error.log`);
  return text;
}
