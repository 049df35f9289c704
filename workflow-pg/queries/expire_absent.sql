-- Ends the leases of executors whose process is gone, so that the next rescue finds them. Returns their ids.
--
-- $1 presence
UPDATE workflow.executors AS x
SET lease_until = clock_timestamp()
WHERE x.presence = $1 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
RETURNING x.id
