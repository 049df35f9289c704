-- The migrations that were applied: version, by version.
SELECT m.version
FROM workflow.migrations AS m
ORDER BY m.version
