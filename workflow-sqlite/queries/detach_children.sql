-- Takes a run's children from it; the time of those that are over has come. Changes one row per child.
-- ?1 the parent, ?2 now, ?3 how many at most.
UPDATE wf_run SET
    parent_run = NULL,
    parent_kind = NULL,
    parent_name = NULL,
    parent_nth = NULL,
    sweep_at = CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN ?2 END
WHERE rowid IN (SELECT c.rowid FROM wf_run AS c WHERE c.parent_run = ?1 LIMIT ?3);
