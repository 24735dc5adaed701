-- The day on which a plan's quota periods begin, counted from the first: 1 and WEEK is a week from Monday. NULL, which a host of an older version writes, is 0.
ALTER TABLE usage_plan ADD COLUMN quota_offset INTEGER;
