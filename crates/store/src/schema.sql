-- The schema of Frontdesk's database, version 1. One file, one writer; times are Unix seconds, UTC.

-- What `up` made from its settings, so that a later start finds it again and leaves everything else alone.
-- kind: 'rest_api' | 'usage_plan' | 'agent_runtime' | 'api_key'; id: the resource's id.
CREATE TABLE seeded (
    kind TEXT PRIMARY KEY,
    id   TEXT NOT NULL
) STRICT;

-- API keys. The value is looked up by `digest` (HMAC-SHA256 under a key derived from the seal key) and kept sealed, so that it can be shown again to
-- its owner; nothing here lets a reader of the file call the API. `hint` is the value's last four characters.
CREATE TABLE api_key (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL UNIQUE,
    sealed_value BLOB,
    hint         TEXT NOT NULL,
    enabled      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

-- Usage plans: a token bucket (rate in requests a second, burst in requests) and a quota a day; NULL means unlimited.
CREATE TABLE usage_plan (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    rate_limit  REAL,
    burst_limit INTEGER,
    quota_limit INTEGER
) STRICT;

-- The stages that a plan opens.
CREATE TABLE usage_plan_stage (
    plan_id TEXT NOT NULL REFERENCES usage_plan (id) ON DELETE CASCADE,
    api_id  TEXT NOT NULL,
    stage   TEXT NOT NULL,
    PRIMARY KEY (plan_id, api_id, stage)
) STRICT, WITHOUT ROWID;

-- The keys that a plan serves.
CREATE TABLE usage_plan_key (
    plan_id TEXT NOT NULL REFERENCES usage_plan (id) ON DELETE CASCADE,
    key_id  TEXT NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
    PRIMARY KEY (plan_id, key_id)
) STRICT, WITHOUT ROWID;

-- Requests counted for a key under a plan on a day (days since 1970-01-01, UTC). Written in groups by one writer; a count only ever grows.
CREATE TABLE usage (
    plan_id TEXT NOT NULL,
    key_id  TEXT NOT NULL,
    day     INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    PRIMARY KEY (plan_id, key_id, day)
) STRICT, WITHOUT ROWID;

-- AWS-style access keys of this host's own identities; the secret is sealed.
CREATE TABLE access_key (
    id            TEXT PRIMARY KEY,
    principal     TEXT NOT NULL,
    sealed_secret BLOB NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
