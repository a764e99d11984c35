-- The last use of each day: with its count, so that noting a use writes one short row. A key's own row has the last use
-- that is older than what is kept of its days.
ALTER TABLE usage_days ADD COLUMN at INTEGER;
ALTER TABLE usage_days ADD COLUMN family TEXT;
