-- Ends the leases of executors whose process seems to be gone, but not before what they may rely on. Returns their ids.
--
-- $1 presence, $2 for how long a lease goes on at least, in microseconds
UPDATE workflow.executors AS x
SET lease_until = clock_timestamp() + $2::bigint * INTERVAL '1 microsecond'
WHERE x.presence = $1 AND x.state = 'alive'
  AND x.lease_until > clock_timestamp() + $2::bigint * INTERVAL '1 microsecond'
RETURNING x.id
