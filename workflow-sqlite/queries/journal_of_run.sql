-- Returns the entries of a run from a position on.
-- ?1 run, ?2 first position, ?3 how many at most, -1 for all.
SELECT position, entry_version, kind, name, nth, phase, mark, codec, payload, recorded_at
FROM wf_journal
WHERE run = ?1 AND position >= ?2
ORDER BY position
LIMIT ?3;
