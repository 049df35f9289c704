-- Returns how many events a topic holds, up to a limit.
-- ?1 name, ?2 key, ?3 now, ?4 the limit.
SELECT COUNT(*) AS held FROM (
    SELECT 1 FROM wf_event WHERE name = ?1 AND key = ?2 AND expires_at > ?3 LIMIT ?4
);
