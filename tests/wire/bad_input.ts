/**
 * Bad input over HTTP, row by row (ids of the reliability report). Each case is refused with its status, its code and
 * the field at fault, in a problem document that gives nothing away, and leaves the store as it was.
 */
import { assert, assertEquals } from "@std/assert";
import { z } from "zod";
import { type Answered, type TestApi, withApi } from "../support/api.ts";
import { offer } from "../support/in_process_pool.ts";

export interface Case {
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly body?: BodyInit | null;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly code: string;
  /** The fields at fault, in any order; absent when no field is. */
  readonly fields?: readonly string[];
}

/** What is there before each row: the ids that its cases speak of. */
interface Ids {
  readonly idle: string;
  readonly running: string;
  readonly inactive: string;
  readonly completed: string;
}

export const JOBS = "/api/v1/jobs";
export const JSON_TYPE = { "content-type": "application/json" };
export const NOBODY = "0198c2d4-5b6e-7f00-8a9b-0c1d2e3f4a5b";
export const CRON = { displayName: "Bad", jobType: "SampleJob", cronExpression: "0 0 12 * * *" };

const MAIL_SCHEMA = z.toJSONSchema(z.strictObject({
  to: z.email(),
  copies: z.int().min(1).max(3),
  list: z.array(z.strictObject({ name: z.string() })).optional(),
}));

/** One row: each of its cases is refused as it says. */
export function refuses(name: string, cases: (ids: Ids) => readonly Case[]): void {
  Deno.test(name, () =>
    withApi(async (api) => {
      const ids = await prepare(api);
      const before = await contents(api);
      for (const one of cases(ids)) {
        const answer = await send(api, one);
        const what = `${one.what}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 600)}`;
        assertEquals([answer.status, answer.body.code], [one.status, one.code], what);
        assertEquals(answer.headers.get("content-type"), "application/problem+json", what);
        const fields = (answer.body.errors ?? []).map(({ field }: { field: string }) => field);
        assertEquals([...new Set(fields)].sort(), [...one.fields ?? []].sort(), what);
        assert(answer.body.detail.length > 10 && answer.body.requestId !== "", what);
        assert(!/sqlite|\/tmp\/|\.ts:|at async/i.test(JSON.stringify(answer.body)), what);
      }
      assertEquals(await contents(api), before, "nothing was created or changed");
      assertEquals(api.log.complaints, []);
    }, { offers: [offer("SampleJob"), offer("MailJob", { schema: MAIL_SCHEMA as never })] }));
}

/** A job that is refused: text is sent as it is. */
export function job(
  what: string,
  body: unknown,
  [status, code, ...fields]: [status: number, code: string, ...fields: string[]],
): Case {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { what, method: "POST", path: JOBS, body: text, headers: JSON_TYPE, status, code, fields };
}

/** A request without a body that is refused. */
export function call(
  what: string,
  request: string,
  [status, code, ...fields]: [status: number, code: string, ...fields: string[]],
): Case {
  const [method = "", path = ""] = request.split(" ");
  return { what, method, path, status, code, fields };
}

async function prepare(api: TestApi): Promise<Ids> {
  const running = await api.createJob();
  await api.claim(await api.trigger(running));
  const completed = await api.trigger(await api.createJob());
  await api.run(completed);
  return {
    idle: await api.createJob(),
    running,
    inactive: await api.createJob({ isActive: false }),
    completed,
  };
}

/** All that a request could have created or changed. */
export async function contents(api: TestApi): Promise<unknown> {
  const { jobs, history, bulk } = api.adapters.store;
  return [
    await jobs.list({}, 100, null),
    await history.occurrences({}, 100, null),
    await bulk.list(100, null),
  ];
}

export async function send(api: TestApi, { method, path, body, headers = {} }: Case): Promise<Answered> {
  const response = await api.api.app.request(path, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: JSON.parse(text) };
}
