-- Says by which presence executors can be watched.
--
-- $1 presence, $2 executor ids
UPDATE workflow.executors AS x
SET presence = $1
WHERE x.id = ANY($2) AND x.state = 'alive' AND x.presence IS DISTINCT FROM $1
