-- The database of logs, version 1: log groups, their streams and events, and the metric filters that read them.

-- A log group, as CloudWatch Logs has them. `retention_days` is null for events that are kept as long as there is room.
CREATE TABLE log_group (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    created_at_ms  INTEGER NOT NULL,
    retention_days INTEGER,
    class          TEXT NOT NULL,
    -- A JSON object of texts.
    tags           TEXT NOT NULL,
    stored_bytes   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A stream of a group: one writer's events. Its moments are null until it has an event; they are not taken back when events are deleted, as at AWS.
CREATE TABLE log_stream (
    id               INTEGER PRIMARY KEY,
    group_id         INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    name             TEXT NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    first_event_ms   INTEGER,
    last_event_ms    INTEGER,
    last_ingested_ms INTEGER,
    UNIQUE (group_id, name)
) STRICT;

CREATE INDEX log_stream_by_last_event ON log_stream (group_id, last_event_ms);

-- An event. Ids grow in the order of writing, so the smallest are the oldest.
CREATE TABLE log_event (
    id             INTEGER PRIMARY KEY,
    group_id       INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    stream_id      INTEGER NOT NULL REFERENCES log_stream (id) ON DELETE CASCADE,
    timestamp_ms   INTEGER NOT NULL,
    ingested_at_ms INTEGER NOT NULL,
    message        TEXT NOT NULL
) STRICT;

CREATE INDEX log_event_by_group ON log_event (group_id, timestamp_ms, id);
CREATE INDEX log_event_by_stream ON log_event (stream_id, timestamp_ms, id);

-- A metric filter of a group: which of its events count, and as what (`MetricFilter`, JSON).
CREATE TABLE metric_filter (
    group_id   INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (group_id, name)
) STRICT, WITHOUT ROWID;
