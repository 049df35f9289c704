-- How much is left of a lease, in microseconds. No row when it is lost.
--
-- $1 executor id
SELECT (extract(epoch FROM x.lease_until - clock_timestamp()) * 1000000)::bigint AS left_us
FROM workflow.executors AS x
WHERE x.id = $1 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
