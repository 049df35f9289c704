-- Returns a presence that was taken, shared.
--
-- $1 presence
SELECT pg_advisory_unlock_shared($1)
