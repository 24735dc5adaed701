-- What the hosts of a fleet share, in PostgreSQL. Days are days since 1970-01-01, UTC.

CREATE SCHEMA frontdesk;

-- The fleet itself; one row. `seal_fingerprint` tells whether a host has the key that seals this fleet's secrets. A change of shared rows locks this row,
-- adds one to `revision` and marks its rows with the sum, so a reader that has seen a revision has seen all before it.
CREATE TABLE frontdesk.fleet (
    id               text PRIMARY KEY,
    schema_version   integer NOT NULL,
    seal_fingerprint text NOT NULL,
    revision         bigint NOT NULL
);

-- The rows that each host has a replica of: API keys, usage plans, their stages and keys, extensions, seeded ids. `table_name` and `row_key` (a JSON array
-- of the primary key's values) name a row of a host's own database, `content` (a JSON object by column, binary values in hexadecimal digits) is what is in
-- it; NULL means deleted. Key values stand here sealed and as keyed digests, never in the open.
CREATE TABLE frontdesk.shared_row (
    table_name text NOT NULL,
    row_key    text NOT NULL,
    revision   bigint NOT NULL,
    content    text,
    PRIMARY KEY (table_name, row_key)
);
CREATE INDEX shared_row_by_revision ON frontdesk.shared_row (revision);

-- The hosts, and when each was last heard of.
CREATE TABLE frontdesk.host (
    id      text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

-- How much of a quota a host may use in the period that begins on `first_day`: what it has used of it and what it holds. The sum over hosts is the quota at
-- most, but for what hosts used while a refill was on its way.
CREATE TABLE frontdesk.quota_lease (
    plan_id   text NOT NULL,
    key_id    text NOT NULL,
    first_day integer NOT NULL,
    host_id   text NOT NULL,
    granted   bigint NOT NULL,
    PRIMARY KEY (plan_id, key_id, first_day, host_id)
);

-- Requests counted by a host for a key under a plan on a day. A count only ever grows; what the fleet counted is the sum over hosts.
CREATE TABLE frontdesk.usage (
    day     integer NOT NULL,
    plan_id text NOT NULL,
    key_id  text NOT NULL,
    host_id text NOT NULL,
    used    bigint NOT NULL,
    PRIMARY KEY (day, plan_id, key_id, host_id)
);

-- Requests answered by a host for a key and an actor on a day.
CREATE TABLE frontdesk.actor_usage (
    day     integer NOT NULL,
    key_id  text NOT NULL,
    actor   text NOT NULL,
    host_id text NOT NULL,
    used    bigint NOT NULL,
    PRIMARY KEY (day, key_id, actor, host_id)
);
