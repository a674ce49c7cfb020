/**
 * The right to run: claims and renewals as one statement for all that come while one is under way. A worker's role
 * may do this and nothing else (see `worker_role.ts`).
 *
 * A claim whose connection failed is made again. It then finds the row Running under its token, by its own instance,
 * and knows that the first try was granted; unless this process granted that token to another call already.
 *
 * Claims of messages that came without job data read it in the claim's own transaction, by a function that gives it
 * to the instance which runs the attempt only: who cannot have the data does not have the claim.
 */
import type { ClaimAnswer, RenewAnswer } from "../../actors/domain/message.ts";
import { isFinal, statusNumber, statusOf } from "../../actors/domain/occurrence.ts";
import type { Attempts, ClaimRequest, Results, RunOf } from "../../actors/ports/attempts.ts";
import type { Clock } from "../../actors/ports/clock.ts";
import type { RunningAttempt } from "../../actors/ports/presence.ts";
import { countMoved } from "./counters.ts";
import type { Database, Row, Session } from "./database.ts";
import { byDay, isStorableTime, onDay } from "./day.ts";
import { Gather } from "./gather.ts";
import { asText, asTimeOrNull, isUuid, millis, numbers, storable, time, uuids } from "./literal.ts";
import { readCancel } from "./occurrence_rows.ts";
import type { InstanceBook } from "./terms.ts";

const QUEUED = statusNumber("Queued");
const RUNNING = statusNumber("Running");

/** Most claims or renewals in one statement. */
const GATHERED_AT_MOST = 1000;
/** Grants remembered, to tell a claim's second try from another claim on the same message. */
const GRANTS_AT_MOST = 50_000;

interface ClaimCall {
  readonly requests: readonly ClaimRequest[];
  readonly at: number;
  readonly leaseUntil: number;
}

interface RenewCall {
  readonly attempts: readonly RunningAttempt[];
  readonly leaseUntil: number;
}

/** One claim of a statement. */
interface Claim {
  readonly request: ClaimRequest;
  readonly at: number;
  readonly leaseUntil: number;
  /** Its number in `instances`. */
  readonly instance: number;
}

export class PostgresAttempts implements Attempts, Results {
  readonly #claims: Gather<ClaimCall, readonly ClaimAnswer[]>;
  readonly #renewals: Gather<RenewCall, readonly RenewAnswer[]>;
  readonly #granted = new Set<string>();

  constructor(
    private readonly database: Database,
    private readonly instances: InstanceBook,
    private readonly clock: Clock,
  ) {
    this.#claims = new Gather({
      run: (calls) => this.#claimAll(calls),
      weigh: (call) => call.requests.length,
      most: GATHERED_AT_MOST,
      lanes: 2,
    });
    this.#renewals = new Gather({
      run: (calls) => this.#renewAll(calls),
      weigh: (call) => call.attempts.length,
      most: GATHERED_AT_MOST,
      lanes: 1,
    });
  }

  async claim(requests: readonly ClaimRequest[], leaseMs: number): Promise<readonly ClaimAnswer[]> {
    if (requests.length === 0) return [];
    const at = this.clock.now();
    return await this.#claims.add({ requests, at, leaseUntil: at + leaseMs });
  }

  async renew(attempts: readonly RunningAttempt[], leaseMs: number): Promise<readonly RenewAnswer[]> {
    if (attempts.length === 0) return [];
    return await this.#renewals.add({ attempts, leaseUntil: this.clock.now() + leaseMs });
  }

  async keep(attempt: RunOf, result: string): Promise<boolean> {
    const { occurrenceId, scheduledFor, token, workerId, instanceId } = attempt;
    if (!isUuid(occurrenceId) || !isStorableTime(scheduledFor)) return false;
    return await this.database.call("keep a result", async (session) => {
      const [instance = 0] = await this.instances.seqs(session, [{ workerId, instanceId }]);
      const [row] = await session.rows(
        `SELECT keep_result($1::uuid, ${time("$2::float8")}, $3::integer, $4::bigint, $5::text)`,
        [occurrenceId, scheduledFor, token, instance, storable(result)],
      );
      return row?.[0] === true;
    });
  }

  // ------------------------------------------------------------------------------------------------- claims

  async #claimAll(calls: readonly ClaimCall[]): Promise<readonly (readonly ClaimAnswer[])[]> {
    const requests = calls.flatMap((call) => call.requests);
    const instances = await this.database.call(
      "name a worker",
      (session) =>
        this.instances.seqs(session, requests.map(({ workerId, instanceId }) => ({ workerId, instanceId }))),
    );
    let next = 0;
    const claims = calls.map((call) =>
      call.requests.map((request): Claim => ({
        request,
        at: call.at,
        leaseUntil: call.leaseUntil,
        instance: instances[next++] ?? 0,
      }))
    );
    const answers = new Map<Claim, ClaimAnswer>();
    let wave = claims.flat();
    // Of several claims on one message the first asks, and the next ask when that is answered.
    while (wave.length > 0) {
      const { first, rest } = firstOfEach(wave);
      const heavy = first.filter(bringsData);
      const light = heavy.length === 0 ? first : first.filter((claim) => !bringsData(claim));
      if (light.length > 0) {
        await this.database.call("claim due jobs", this.#claimWave(light, answers));
      }
      if (heavy.length > 0) {
        await this.database.transaction("claim due jobs", this.#claimWave(heavy, answers, readJobData));
      }
      wave = rest;
    }
    return claims.map((some) => some.map((claim) => answers.get(claim) ?? { ok: false, reason: "gone" }));
  }

  #claimWave(
    claims: readonly Claim[],
    answers: Map<Claim, ClaimAnswer>,
    read?: typeof readJobData,
  ): (session: Session, isRetry: boolean) => Promise<void> {
    // By this call: its second try may meet them.
    const own = new Set<Claim>();
    const known = claims.filter(({ request: { message } }) =>
      isUuid(message.occurrenceId) && isStorableTime(message.scheduledFor)
    ).sort((left, right) => left.request.message.occurrenceId < right.request.message.occurrenceId ? -1 : 1);
    return async (session, isRetry) => {
      for (const [day, some] of byDay(known, ({ request }) => request.message.scheduledFor)) {
        const granted = await grant(session, day, some);
        const refused = some.filter((claim) =>
          !granted.has(claim.request.message.occurrenceId.toLowerCase())
        );
        for (const claim of some) {
          const row = granted.get(claim.request.message.occurrenceId.toLowerCase());
          if (row === undefined) continue;
          this.#remember(claim);
          own.add(claim);
          answers.set(claim, { ok: true, token: Number(row[1]), attempt: Number(row[2]) });
        }
        if (refused.length > 0) {
          const rows = await readRefused(session, day, refused);
          for (const claim of refused) {
            const row = rows.get(claim.request.message.occurrenceId.toLowerCase());
            answers.set(claim, this.#refusal(claim, row, isRetry, own));
          }
        }
        await read?.(session, some, answers);
      }
    };
  }

  #refusal(
    claim: Claim,
    row: Row | undefined,
    isRetry: boolean,
    grantedHere: ReadonlySet<Claim>,
  ): ClaimAnswer {
    if (row === undefined) return { ok: false, reason: "gone" };
    const status = statusOf(Number(row[1]));
    const token = Number(row[2]);
    if (isRetry && status === "Running" && token === claim.request.message.token + 1) {
      const isOwn = Number(row[4]) === claim.instance && asTimeOrNull(row[6]) === Math.round(claim.at);
      if (isOwn && (grantedHere.has(claim) || !this.#granted.has(grantKey(claim)))) {
        this.#remember(claim);
        return { ok: true, token, attempt: Number(row[5]) };
      }
    }
    if (status === "Cancelled") return { ok: false, reason: "cancelled" };
    if (isFinal(status)) return { ok: false, reason: "final" };
    if (status !== "Queued" || token !== claim.request.message.token) {
      return { ok: false, reason: "stale-token" };
    }
    const readyAt = asTimeOrNull(row[3]);
    // Ready in between: the message comes again when its look-again time does.
    return { ok: false, reason: readyAt === null || readyAt > claim.at ? "not-ready" : "stale-token" };
  }

  #remember(claim: Claim): void {
    if (this.#granted.size >= GRANTS_AT_MOST) {
      // The older half, in the order they came.
      let left = GRANTS_AT_MOST / 2;
      for (const key of this.#granted) {
        if (left-- === 0) break;
        this.#granted.delete(key);
      }
    }
    this.#granted.add(grantKey(claim));
  }

  // ------------------------------------------------------------------------------------------------ renewals

  async #renewAll(calls: readonly RenewCall[]): Promise<readonly (readonly RenewAnswer[])[]> {
    const renewals = calls.flatMap(({ attempts, leaseUntil }) =>
      attempts.filter((one) => isUuid(one.occurrenceId) && isStorableTime(one.scheduledFor))
        .map((attempt) => ({ attempt, leaseUntil }))
    ).sort((left, right) => left.attempt.occurrenceId < right.attempt.occurrenceId ? -1 : 1);
    const renewed = await this.database.call("renew leases", async (session) => {
      const found = new Map<string, RenewAnswer>();
      for (const [day, some] of byDay(renewals, ({ attempt }) => attempt.scheduledFor)) {
        const rows = await session.rows(
          // Worth no sync: a lease that a crash takes back is renewed a few seconds later.
          `UPDATE occurrences o SET lease_until = ${time("u.lease")}
             FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::float8[]) AS u (id, at, token, lease),
               (SELECT set_config('synchronous_commit', 'off', true) AS lax) AS c
            WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
              AND o.token = u.token AND o.status = ${RUNNING} AND c.lax IS NOT NULL
            RETURNING o.id, o.token, o.cancel`,
          [
            uuids(some.map(({ attempt }) => attempt.occurrenceId)),
            numbers(some.map(({ attempt }) => attempt.scheduledFor)),
            numbers(some.map(({ attempt }) => attempt.token)),
            numbers(some.map(({ leaseUntil }) => leaseUntil)),
          ],
        );
        for (const [id, token, cancel] of rows) {
          found.set(`${id} ${token}`, { ok: true, cancel: readCancel(cancel) });
        }
      }
      return found;
    });
    return calls.map(({ attempts }) =>
      attempts.map((one) => renewed.get(`${one.occurrenceId.toLowerCase()} ${one.token}`) ?? { ok: false })
    );
  }
}

async function grant(
  session: Session,
  day: number,
  claims: readonly Claim[],
): Promise<ReadonlyMap<string, Row>> {
  // The clock is asked only about what waits for a moment: what was ready before it was set back is ready.
  const rows = await session.rows(
    `WITH claimed AS (
       UPDATE occurrences o SET status = ${RUNNING}, token = o.token + 1, attempt = o.attempt + 1,
         next_action_at = least(o.next_action_at, ${time("u.lease")}), started_at = ${time("u.now")},
         lease_until = ${
      time("u.lease")
    }, instance = u.instance, duration_ms = NULL, reason = NULL, error = NULL,
         progress_done = NULL, progress_total = NULL
         FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::bigint[], $5::float8[], $6::float8[])
           AS u (id, at, token, instance, now, lease)
        WHERE o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}
          AND o.status = ${QUEUED} AND o.token = u.token
          AND (o.ready_at <= ${time("u.now")} OR o.next_action_at <> o.ready_at)
        RETURNING o.id, o.token, o.attempt
     ), counted AS (${countMoved("claimed", "Queued", "Running")})
     SELECT id, token, attempt FROM claimed`,
    [
      uuids(claims.map(({ request }) => request.message.occurrenceId)),
      numbers(claims.map(({ request }) => request.message.scheduledFor)),
      numbers(claims.map(({ request }) => request.message.token)),
      numbers(claims.map((claim) => claim.instance)),
      numbers(claims.map((claim) => claim.at)),
      numbers(claims.map((claim) => claim.leaseUntil)),
    ],
  );
  return new Map(rows.map((row) => [String(row[0]), row]));
}

/** Adds their job data to the answers of those that were granted. */
async function readJobData(
  session: Session,
  claims: readonly Claim[],
  answers: Map<Claim, ClaimAnswer>,
): Promise<void> {
  const granted = claims.flatMap((claim) => {
    const answer = answers.get(claim);
    return answer?.ok === true ? [{ claim, answer }] : [];
  });
  if (granted.length === 0) return;
  const rows = await session.rows(
    `SELECT claimed_job_data(u.id, ${time("u.at")}, u.token, u.instance)
       FROM unnest($1::uuid[], $2::float8[], $3::integer[], $4::bigint[]) WITH ORDINALITY
         AS u (id, at, token, instance, place) ORDER BY u.place`,
    [
      uuids(granted.map(({ claim }) => claim.request.message.occurrenceId)),
      numbers(granted.map(({ claim }) => claim.request.message.scheduledFor)),
      numbers(granted.map(({ answer }) => answer.token)),
      numbers(granted.map(({ claim }) => claim.instance)),
    ],
  );
  for (const [index, { claim, answer }] of granted.entries()) {
    const jobData = asText(rows[index]?.[0]);
    if (jobData === null) throw new Error("no job data of an attempt that was claimed");
    answers.set(claim, { ...answer, jobData });
  }
}

function bringsData({ request }: Claim): boolean {
  return request.message.jobDataBytes !== undefined;
}

async function readRefused(
  session: Session,
  day: number,
  claims: readonly Claim[],
): Promise<ReadonlyMap<string, Row>> {
  const rows = await session.rows(
    `SELECT o.id, o.status, o.token, ${millis("o.ready_at")}, o.instance, o.attempt, ${millis("o.started_at")}
       FROM unnest($1::uuid[], $2::float8[]) AS u (id, at) JOIN occurrences o
         ON o.id = u.id AND o.scheduled_for = ${time("u.at")} AND ${onDay(day, "o.scheduled_for")}`,
    [
      uuids(claims.map(({ request }) => request.message.occurrenceId)),
      numbers(claims.map(({ request }) => request.message.scheduledFor)),
    ],
  );
  return new Map(rows.map((row) => [String(row[0]), row]));
}

function firstOfEach(claims: readonly Claim[]): { readonly first: Claim[]; readonly rest: Claim[] } {
  const seen = new Set<string>();
  const first: Claim[] = [];
  const rest: Claim[] = [];
  for (const claim of claims) {
    const id = claim.request.message.occurrenceId;
    (seen.has(id) ? rest : first).push(claim);
    seen.add(id);
  }
  return { first, rest };
}

function grantKey({ request: { message } }: Claim): string {
  return `${message.occurrenceId} ${message.token + 1}`;
}
