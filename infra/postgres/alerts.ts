/** Alerts of the watchdog: the `Alerts` port. */
import { type Alert, ALERT_KINDS, type AlertKind, SEVERITY } from "../../actors/domain/alert.ts";
import { type Alerts, ENDED_ALERTS_KEPT } from "../../actors/ports/alerts.ts";
import type { Database, Row } from "./database.ts";
import { asTime, asTimeOrNull, millis, storable, time } from "./literal.ts";

const COLUMNS = `id, kind, sentence, evidence, ${millis("raised_at")}, raised_by, ${millis("seen_at")}, ${
  millis("ended_at")
}`;

export class PostgresAlerts implements Alerts {
  constructor(private readonly database: Database) {}

  async raise(alert: Omit<Alert, "endedAt">): Promise<boolean> {
    const { id, kind, sentence, evidence, raisedAt, raisedBy, seenAt } = alert;
    // Asked again after a lost answer it finds its own row, and says the same.
    const [row] = await this.database.call("raise an alert", (session) =>
      session.rows(
        `INSERT INTO alerts (id, kind, sentence, evidence, raised_at, raised_by, seen_at)
           VALUES ($1::uuid, $2::text, $3::text, $4::text, ${time("$5::float8")}, $6::text, ${
          time("$7::float8")
        })
         ON CONFLICT (kind) WHERE ended_at IS NULL DO UPDATE SET sentence = excluded.sentence,
           evidence = excluded.evidence, seen_at = excluded.seen_at RETURNING id`,
        [
          id,
          kind,
          storable(sentence),
          storable(JSON.stringify(evidence)),
          raisedAt,
          storable(raisedBy),
          seenAt,
        ],
      ));
    return row?.[0] === id;
  }

  end(kind: AlertKind, at: number): Promise<Alert | null> {
    return this.database.transaction("end an alert", async (session) => {
      const [row] = await session.rows(
        `UPDATE alerts SET ended_at = ${time("$2::float8")} WHERE kind = $1::text AND ended_at IS NULL
         RETURNING ${COLUMNS}`,
        [kind, at],
      );
      if (row === undefined) return null;
      await session.rows(
        `DELETE FROM alerts WHERE id IN (
           SELECT id FROM alerts WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC OFFSET ${ENDED_ALERTS_KEPT})`,
      );
      return toAlert(row);
    });
  }

  list(limit: number): Promise<readonly Alert[]> {
    return this.database.call("list alerts", async (session) => {
      const rows = await session.rows(
        `SELECT ${COLUMNS} FROM alerts
          ORDER BY ended_at IS NOT NULL, ended_at DESC, raised_at DESC, id DESC LIMIT $1::bigint`,
        [limit],
      );
      return rows.map(toAlert);
    });
  }
}

function toAlert(row: Row): Alert {
  const [id, kindText, sentence, evidence, raisedAt, raisedBy, seenAt, endedAt] = row;
  const kind = ALERT_KINDS.find((one) => one === kindText);
  if (kind === undefined) throw new RangeError(`No alert is of the kind ${kindText}`);
  return {
    id: String(id),
    kind,
    severity: SEVERITY[kind],
    sentence: String(sentence),
    evidence: JSON.parse(String(evidence)),
    raisedAt: asTime(raisedAt),
    raisedBy: String(raisedBy),
    seenAt: asTime(seenAt),
    endedAt: asTimeOrNull(endedAt),
  };
}
