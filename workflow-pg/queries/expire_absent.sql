-- Ends the leases of executors whose process seems to be gone, but not before what they may rely on. Returns their ids, and
-- in how many microseconds their leases end.
--
-- $1 presence
UPDATE workflow.executors AS x
SET lease_until = clock_timestamp() + x.notice_us * INTERVAL '1 microsecond'
WHERE x.presence = $1 AND x.state = 'alive'
  AND x.lease_until > clock_timestamp() + x.notice_us * INTERVAL '1 microsecond'
RETURNING x.id, x.notice_us
