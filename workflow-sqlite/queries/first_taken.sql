-- Returns the first taken position in a range.
-- ?1 run, ?2 first position, ?3 last position.
SELECT position FROM wf_journal WHERE run = ?1 AND position BETWEEN ?2 AND ?3 ORDER BY position LIMIT 1;
