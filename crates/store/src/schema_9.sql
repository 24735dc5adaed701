-- Several usage plans may have one name, as in API Gateway: the table is made again without that bound. Foreign keys are not enforced while the schema
-- changes, so nothing that refers to a plan is deleted with the old table.
CREATE TABLE usage_plan_9 (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    rate_limit   REAL,
    burst_limit  INTEGER,
    quota_limit  INTEGER,
    description  TEXT NOT NULL DEFAULT '',
    quota_period TEXT NOT NULL DEFAULT 'DAY',
    quota_offset INTEGER
) STRICT;
INSERT INTO usage_plan_9 (id, name, rate_limit, burst_limit, quota_limit, description, quota_period, quota_offset)
SELECT id, name, rate_limit, burst_limit, quota_limit, description, quota_period, quota_offset FROM usage_plan;
DROP TABLE usage_plan;
ALTER TABLE usage_plan_9 RENAME TO usage_plan;
