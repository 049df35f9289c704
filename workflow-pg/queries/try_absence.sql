-- Takes a presence, shared, if nobody holds it. Returns whether nobody does.
--
-- $1 presence
SELECT pg_try_advisory_lock_shared($1)
