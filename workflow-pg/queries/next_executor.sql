-- The presence that comes after one's own, round about: whom to watch. No row when there is nobody else.
--
-- $1 own presence
SELECT x.presence
FROM workflow.executors AS x
WHERE x.state = 'alive' AND x.lease_until > clock_timestamp() AND x.presence IS NOT NULL AND x.presence <> $1
ORDER BY x.presence < $1, x.presence
LIMIT 1
