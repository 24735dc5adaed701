-- The schema of Frontdesk's database, from version 9 to version 10: metrics and alarms.

-- A metric: what CloudWatch knows it by. `dimensions` is a JSON object with its names in order.
CREATE TABLE metric_series (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    unit       TEXT NOT NULL,
    -- Unix seconds of its newest point.
    last_at    INTEGER NOT NULL,
    UNIQUE (namespace, name, dimensions, unit)
) STRICT;

-- What was counted of a metric in `span_s` seconds from `at` (Unix seconds): a sketch of the values (`frontdesk_metrics::Sketch`). As in CloudWatch, spans grow with age:
-- a second or a minute, five minutes, an hour; then the point is deleted.
CREATE TABLE metric_point (
    series_id INTEGER NOT NULL REFERENCES metric_series (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    span_s    INTEGER NOT NULL,
    sketch    BLOB NOT NULL,
    PRIMARY KEY (series_id, at, span_s)
) STRICT, WITHOUT ROWID;

-- For the points that have come of age.
CREATE INDEX metric_point_by_age ON metric_point (span_s, at);

-- An alarm (`MetricAlarm`, JSON) with the state it is in.
CREATE TABLE metric_alarm (
    name       TEXT PRIMARY KEY,
    definition TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What became of an alarm; it outlives the alarm.
CREATE TABLE alarm_history (
    id      INTEGER PRIMARY KEY,
    alarm   TEXT NOT NULL,
    -- Unix milliseconds.
    at_ms   INTEGER NOT NULL,
    -- `ConfigurationUpdate`, `StateUpdate` or `Action`.
    kind    TEXT NOT NULL,
    summary TEXT NOT NULL,
    -- JSON, as CloudWatch writes it.
    data    TEXT NOT NULL
) STRICT;

CREATE INDEX alarm_history_by_alarm ON alarm_history (alarm, at_ms);
