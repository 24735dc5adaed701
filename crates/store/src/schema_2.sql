-- The schema of Frontdesk's database, from version 1 to version 2: keys that expire, rotate and are bound to networks; plans with periods and with
-- throttles of their methods; usage by actor.

-- What the key is for, in its owner's words.
ALTER TABLE api_key ADD COLUMN description TEXT NOT NULL DEFAULT '';
-- From this moment the key opens nothing; NULL means never.
ALTER TABLE api_key ADD COLUMN expires_at INTEGER;
-- Networks (CIDR, separated by commas) that the key may be used from; empty means any.
ALTER TABLE api_key ADD COLUMN source_ranges TEXT NOT NULL DEFAULT '';
-- Tags, as a JSON object of texts.
ALTER TABLE api_key ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
-- After a rotation: the digest of the value before it, which works until `former_retires_at`.
ALTER TABLE api_key ADD COLUMN former_digest BLOB;
ALTER TABLE api_key ADD COLUMN former_retires_at INTEGER;
CREATE UNIQUE INDEX api_key_former_digest ON api_key (former_digest);

ALTER TABLE usage_plan ADD COLUMN description TEXT NOT NULL DEFAULT '';
-- What `quota_limit` is for: 'DAY', 'WEEK' (from Sunday) or 'MONTH'; UTC.
ALTER TABLE usage_plan ADD COLUMN quota_period TEXT NOT NULL DEFAULT 'DAY';

-- Throttles of single methods within a plan, for each key; `method` is the resource's path and the verb, such as '/invoke/POST'.
CREATE TABLE usage_plan_method_throttle (
    plan_id     TEXT NOT NULL,
    api_id      TEXT NOT NULL,
    stage       TEXT NOT NULL,
    method      TEXT NOT NULL,
    rate_limit  REAL NOT NULL,
    burst_limit INTEGER NOT NULL,
    PRIMARY KEY (plan_id, api_id, stage, method),
    FOREIGN KEY (plan_id, api_id, stage) REFERENCES usage_plan_stage (plan_id, api_id, stage) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Requests granted to a key beyond its quota, in the period that begins on `period_day` (days since 1970-01-01, UTC).
CREATE TABLE quota_extension (
    plan_id    TEXT NOT NULL,
    key_id     TEXT NOT NULL,
    period_day INTEGER NOT NULL,
    extra      INTEGER NOT NULL,
    PRIMARY KEY (plan_id, key_id, period_day)
) STRICT, WITHOUT ROWID;

-- Requests answered for a key and an actor on a day: who among a key's users asked how much. A count only ever grows.
CREATE TABLE actor_usage (
    key_id TEXT NOT NULL,
    actor  TEXT NOT NULL,
    day    INTEGER NOT NULL,
    used   INTEGER NOT NULL,
    PRIMARY KEY (key_id, actor, day)
) STRICT, WITHOUT ROWID;

-- A key is named on the command line.
CREATE INDEX api_key_by_name ON api_key (name);

-- A deleted key leaves its plans without a walk through all of them.
CREATE INDEX usage_plan_key_by_key ON usage_plan_key (key_id);
