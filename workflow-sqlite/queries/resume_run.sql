-- Makes a parked run ready. Returns its queue.
-- ?1 run, ?2 now.
UPDATE wf_run SET status = 'ready', ready_at = ?2, crashes = 0, park_code = NULL, park_message = NULL
WHERE id = ?1 AND status = 'parked'
RETURNING queue;
