-- Deletes events whose retention is over. Changes one row per event.
-- ?1 now, ?2 how many at most.
DELETE FROM wf_event WHERE rowid IN (
    SELECT rowid FROM wf_event WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2
);
