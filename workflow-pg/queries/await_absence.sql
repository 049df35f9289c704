-- Waits until nobody holds a presence any more, and takes it, shared.
--
-- $1 presence
SELECT pg_advisory_lock_shared($1)
