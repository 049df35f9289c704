-- Shows that this process lives, for as long as its session does. Returns whether it could: an earlier session of the
-- same process may not have ended yet.
--
-- $1 presence
SELECT pg_try_advisory_lock($1)
