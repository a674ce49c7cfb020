/** The tables of `milvaion.db` and `logs.db`. Times are epoch milliseconds, always bound from TypeScript. */
import { mayBecome, OCCURRENCE_STATUSES, statusNumber } from "../../actors/domain/occurrence.ts";
import type { Migration } from "./database.ts";

/**
 * For each status a bit mask of the statuses that may follow it. A status may be written again while it is not
 * final; an `IN (…)` list instead would build a table for each updated row.
 */
function followers(): string {
  const cases = OCCURRENCE_STATUSES.map((from) => {
    const next = OCCURRENCE_STATUSES.filter((to) => mayBecome(from, to));
    const mask = (next.length === 0 ? [] : [...next, from]).reduce(
      (bits, to) => bits | 1 << statusNumber(to),
      0,
    );
    return `WHEN ${statusNumber(from)} THEN ${mask}`;
  });
  return `CASE OLD.status ${cases.join(" ")} ELSE 0 END`;
}

/**
 * `milvaion.db`. Rows refer to each other by small integers (`seq`); the UUIDs that the world sees are kept once.
 *
 * jobs         what changes often (next due time, pause) apart from the definition, which is JSON
 * terms        what the occurrences of one job version have in common, interned
 * payloads     job data, shared by a job version and its occurrences, so that a change of status copies none
 * occurrences  the newest attempt is part of its row; `attempts` keeps those before it. State changes are not
 *              stored: creation, attempts and end tell them all
 */
export const STORE_MIGRATIONS: readonly Migration[] = [
  `
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  CREATE TABLE payloads (seq INTEGER PRIMARY KEY, data TEXT NOT NULL);

  CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    next_due_at INTEGER,
    -- The moment up to which due times were decided last.
    decided_until INTEGER NOT NULL DEFAULT 0,
    -- Start of the verdict range that the next undecided due time would extend, or null.
    open_range INTEGER,
    -- 1 while its history is being deleted: nobody sees it any more.
    is_leaving INTEGER NOT NULL DEFAULT 0,
    is_active INTEGER NOT NULL,
    pause TEXT,
    job_type TEXT NOT NULL,
    definition TEXT NOT NULL,
    payload INTEGER NOT NULL
  );
  CREATE INDEX jobs_due ON jobs (next_due_at) WHERE next_due_at IS NOT NULL;
  CREATE INDEX jobs_of_type ON jobs (job_type);
  CREATE INDEX jobs_leaving ON jobs (seq) WHERE is_leaving = 1;

  CREATE TABLE terms (
    seq INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    job_version INTEGER NOT NULL,
    job_type TEXT NOT NULL,
    pool TEXT,
    max_attempts INTEGER NOT NULL,
    base_retry_delay_seconds REAL NOT NULL,
    execution_timeout_seconds REAL,
    payload INTEGER NOT NULL
  );
  CREATE INDEX terms_of_job ON terms (job, job_version);
  CREATE INDEX terms_of_type ON terms (job_type);

  CREATE TABLE instances (
    seq INTEGER PRIMARY KEY,
    worker_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    UNIQUE (instance_id, worker_id)
  );

  CREATE TABLE occurrences (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    job INTEGER NOT NULL,
    terms INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    -- 0 for a due time, which is unique in its job; seq for a trigger, of which there may be many in a millisecond.
    twin INTEGER NOT NULL,
    status INTEGER NOT NULL,
    scheduled_for INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    token INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    -- 1 when the job's policy lets no other run beside it: kept for Skip and Queue only.
    holds_job INTEGER NOT NULL,
    -- Attempts that ended because their worker was gone.
    lost INTEGER NOT NULL DEFAULT 0,
    ready_at INTEGER,
    next_action_at INTEGER,
    -- How often it was put off, because the queue has its message; -1 when that is known to be gone.
    looks INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    lease_until INTEGER,
    duration_ms INTEGER,
    instance INTEGER,
    progress_done REAL,
    progress_total REAL,
    -- seq of the occurrence that was in its way when it was created.
    blocked_by INTEGER,
    created_reason TEXT,
    reason TEXT,
    cancel TEXT,
    error TEXT,
    result TEXT,
    -- Its own job data; null takes that of its terms.
    job_data TEXT
  );
  CREATE UNIQUE INDEX occurrences_of_job ON occurrences (job, scheduled_for, twin);
  CREATE INDEX occurrences_by_time ON occurrences (scheduled_for);
  -- The others are partial, so that a completed run leaves nothing in them.
  CREATE INDEX occurrences_active ON occurrences (scheduled_for) WHERE ended_at IS NULL;
  CREATE INDEX occurrences_holding ON occurrences (job, scheduled_for) WHERE holds_job = 1 AND ended_at IS NULL;
  CREATE INDEX occurrences_running ON occurrences (scheduled_for) WHERE status = 1;
  CREATE INDEX occurrences_not_completed ON occurrences (status, scheduled_for) WHERE status > 2;
  CREATE INDEX occurrences_to_look_at ON occurrences (next_action_at)
    WHERE status = 0 AND next_action_at IS NOT NULL;

  CREATE TRIGGER occurrences_edges AFTER UPDATE OF status ON occurrences
  WHEN (${followers()} >> NEW.status) & 1 = 0
  BEGIN
    SELECT RAISE(FAIL, 'an occurrence cannot go from this status to that');
  END;

  CREATE TABLE attempts (
    occurrence INTEGER NOT NULL,
    token INTEGER NOT NULL,
    number INTEGER,
    instance INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    duration_ms INTEGER,
    outcome TEXT NOT NULL,
    error TEXT,
    reason TEXT,
    progress_done REAL,
    progress_total REAL,
    PRIMARY KEY (occurrence, token)
  ) WITHOUT ROWID;

  -- Reports that came too late to count, as evidence.
  CREATE TABLE late_reports (
    occurrence_id TEXT NOT NULL,
    token INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (occurrence_id, token, ended_at)
  ) WITHOUT ROWID;

  CREATE TABLE verdict_ranges (
    job INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    job_version INTEGER NOT NULL,
    count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (job, from_at)
  ) WITHOUT ROWID;

  CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    holder TEXT NOT NULL,
    since INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    ended_at INTEGER,
    refused_writes INTEGER NOT NULL DEFAULT 0
  );

  CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    occurrence_ids TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX idempotency_by_age ON idempotency (created_at);

  CREATE TABLE counters (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
  `,
  `
  -- Failure rules as JSON: see actors/domain/terms.ts.
  ALTER TABLE terms ADD COLUMN rules TEXT NOT NULL DEFAULT '{}';

  ALTER TABLE jobs ADD COLUMN run_count INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE jobs ADD COLUMN skipped_due_time TEXT;
  ALTER TABLE jobs ADD COLUMN last_catch_up_at INTEGER;

  -- When a catch-up run that waits for the run before it may start at the earliest.
  ALTER TABLE occurrences ADD COLUMN not_before INTEGER;
  -- How far the kill ladder was climbed, as JSON: see Ending in actors/domain/occurrence.ts.
  ALTER TABLE occurrences ADD COLUMN ending TEXT;

  -- What the person behind a range said.
  ALTER TABLE verdict_ranges ADD COLUMN note TEXT;

  -- Start of the first attempt; null while there has been one at most.
  ALTER TABLE occurrences ADD COLUMN first_started_at INTEGER;

  -- Set while the job is disabled because it kept failing, and until no due time of that time is undecided. JSON.
  ALTER TABLE jobs ADD COLUMN auto_disabled TEXT;
  -- Moments of a job's last consecutive final failures, JSON. A job that works has no row; a disabled one has.
  CREATE TABLE failure_streaks (job INTEGER PRIMARY KEY, failures TEXT NOT NULL);

  -- Dead letters, written with the end of the occurrence whose id they have, and standing without its row.
  CREATE TABLE failed_occurrences (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    job INTEGER NOT NULL,
    job_type TEXT NOT NULL,
    job_version INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    scheduled_for INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    error TEXT,
    reason TEXT,
    last_output TEXT,
    job_data TEXT NOT NULL,
    resolved_at INTEGER,
    resolution TEXT
  );
  CREATE INDEX failed_by_time ON failed_occurrences (failed_at);
  CREATE INDEX failed_of_job ON failed_occurrences (job, failed_at);
  CREATE INDEX failed_of_type ON failed_occurrences (job_type, failed_at);
  CREATE INDEX failed_alike ON failed_occurrences (fingerprint, failed_at);
  CREATE INDEX failed_unresolved ON failed_occurrences (failed_at, kind) WHERE resolved_at IS NULL;

  -- Which occurrence replays which failed one; scheduled_for is the replay's.
  CREATE TABLE replays (
    occurrence_id TEXT PRIMARY KEY,
    failed_id TEXT NOT NULL,
    job INTEGER NOT NULL,
    scheduled_for INTEGER NOT NULL,
    action_id TEXT
  ) WITHOUT ROWID;
  CREATE INDEX replays_of ON replays (failed_id, scheduled_for);
  CREATE INDEX replays_of_job ON replays (job);

  CREATE TABLE bulk_actions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    -- Options and selection as JSON.
    options TEXT NOT NULL,
    selection TEXT NOT NULL,
    total INTEGER NOT NULL,
    state_reason TEXT,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- 1 when nothing is left to do or to wait for.
    is_settled INTEGER NOT NULL
  );
  CREATE INDEX bulk_unsettled ON bulk_actions (seq) WHERE is_settled = 0;

  -- An item once an action. scheduled_for is the occurrence's that is to end.
  CREATE TABLE bulk_items (
    action INTEGER NOT NULL,
    target TEXT NOT NULL,
    position INTEGER NOT NULL,
    state INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    occurrence_id TEXT,
    scheduled_for INTEGER,
    reason TEXT,
    PRIMARY KEY (action, target)
  ) WITHOUT ROWID;
  CREATE INDEX bulk_items_in_order ON bulk_items (action, state, position);

  -- What the watchdog found; at most one of a kind is open.
  CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL,
    evidence TEXT NOT NULL,
    raised_at INTEGER NOT NULL,
    raised_by TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    ended_at INTEGER
  ) WITHOUT ROWID;
  CREATE UNIQUE INDEX alerts_open ON alerts (kind) WHERE ended_at IS NULL;
  `,
];

/** `logs.db`: a file of its own, so that a flood of lines delays no status. */
export const LOG_MIGRATIONS: readonly Migration[] = [
  `
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  CREATE TABLE lines (
    occurrence_id TEXT NOT NULL,
    token INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    scheduled_for INTEGER NOT NULL,
    at INTEGER NOT NULL,
    level INTEGER NOT NULL,
    message TEXT NOT NULL,
    fields TEXT,
    PRIMARY KEY (occurrence_id, token, sequence)
  ) WITHOUT ROWID;
  `,
];
