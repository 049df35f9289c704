-- Makes all runs of an executor ready. Returns their queues.
-- ?1 executor, ?2 now.
UPDATE wf_run SET status = 'ready', owner = NULL, ready_at = ?2 WHERE owner = ?1 RETURNING queue;
