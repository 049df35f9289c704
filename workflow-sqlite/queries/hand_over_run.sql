-- Makes a run of an executor that lives ready. Returns its queue.
-- ?1 executor, ?2 now, ?3 run.
UPDATE wf_run SET status = 'ready', owner = NULL, ready_at = ?2
WHERE id = ?3 AND owner = ?1 AND EXISTS (SELECT 1 FROM wf_executor AS x WHERE x.id = ?1 AND x.dead = 0)
RETURNING queue;
