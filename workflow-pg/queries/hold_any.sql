-- Holds one of two locks, in a session for leases: a process is there as long as any of its locks is held.
--
-- $1, $2 locks
SELECT CASE WHEN pg_try_advisory_lock($1) THEN TRUE ELSE pg_try_advisory_lock($2) END
