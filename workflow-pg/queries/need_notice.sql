-- Changes the notice with which a lease may be ended early. Returns how much is left of it, in microseconds, or no row
-- when it is lost.
--
-- $1 executor id, $2 notice in microseconds
UPDATE workflow.executors AS x
SET notice_us = $2
WHERE x.id = $1 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
RETURNING (extract(epoch FROM x.lease_until - clock_timestamp()) * 1000000)::bigint AS left_us
