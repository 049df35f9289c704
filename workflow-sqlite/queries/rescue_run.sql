-- Makes a run of a dead executor ready. Changes one row.
-- ?1 run, ?2 crash count, ?3 length of its journal, ?4 now.
UPDATE wf_run SET status = 'ready', owner = NULL, ready_at = ?4, crashes = ?2, rescued_len = ?3
WHERE id = ?1 AND status = 'running';
