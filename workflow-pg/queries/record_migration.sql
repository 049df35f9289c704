-- Records that a migration was applied.
--
-- $1 version, $2 name
INSERT INTO workflow.migrations (version, name, applied_at)
VALUES ($1, $2, clock_timestamp())
