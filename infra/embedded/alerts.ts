/** Alerts of the watchdog: the `Alerts` port. */
import { type Alert, ALERT_KINDS, type AlertKind, SEVERITY } from "../../actors/domain/alert.ts";
import { type Alerts, ENDED_ALERTS_KEPT } from "../../actors/ports/alerts.ts";
import type { Database, Row, Statement } from "./database.ts";
import type { GroupCommit } from "./group_commit.ts";

const COLUMNS = "id, kind, sentence, evidence, raised_at, raised_by, seen_at, ended_at";

export class EmbeddedAlerts implements Alerts {
  readonly #raise: Statement;
  readonly #open: Statement;
  readonly #end: Statement;
  readonly #prune: Statement;
  readonly #list: Statement;

  constructor(database: Database, private readonly group: GroupCommit) {
    this.#raise = database.prepare(
      `INSERT INTO alerts (id, kind, sentence, evidence, raised_at, raised_by, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (kind) WHERE ended_at IS NULL DO UPDATE SET sentence = excluded.sentence,
         evidence = excluded.evidence, seen_at = excluded.seen_at RETURNING id`,
    );
    this.#open = database.prepare(`SELECT ${COLUMNS} FROM alerts WHERE kind = ? AND ended_at IS NULL`);
    this.#end = database.prepare("UPDATE alerts SET ended_at = ? WHERE kind = ? AND ended_at IS NULL");
    this.#prune = database.prepare(
      `DELETE FROM alerts WHERE id IN (
         SELECT id FROM alerts WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC
          LIMIT -1 OFFSET ${ENDED_ALERTS_KEPT})`,
    );
    this.#list = database.prepare(
      `SELECT ${COLUMNS} FROM alerts ORDER BY ended_at IS NOT NULL, ended_at DESC, raised_at DESC, id DESC LIMIT ?`,
    );
  }

  raise(alert: Omit<Alert, "endedAt">): Promise<boolean> {
    const { id, kind, sentence, evidence, raisedAt, raisedBy, seenAt } = alert;
    return this.group.write(() =>
      this.#raise.row(id, kind, sentence, JSON.stringify(evidence), raisedAt, raisedBy, seenAt)?.[0] === id
    );
  }

  end(kind: AlertKind, at: number): Promise<Alert | null> {
    return this.group.write(() => {
      const row = this.#open.row(kind);
      if (row === undefined) return null;
      this.#end.execute(at, kind);
      this.#prune.execute();
      return { ...toAlert(row), endedAt: at };
    });
  }

  list(limit: number): Promise<readonly Alert[]> {
    return this.group.read(() => this.#list.rows(limit).map(toAlert));
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
    raisedAt: Number(raisedAt),
    raisedBy: String(raisedBy),
    seenAt: Number(seenAt),
    endedAt: endedAt === null ? null : Number(endedAt),
  };
}
