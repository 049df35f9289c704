-- Takes the next seq of a run's inbox and makes the run ready if it waits. Returns nothing when it is over.
-- ?1 run, ?2 now.
UPDATE wf_run SET
    mail = mail + 1,
    status = CASE status WHEN 'waiting' THEN 'ready' ELSE status END,
    ready_at = CASE status WHEN 'waiting' THEN ?2 ELSE ready_at END,
    wake_at = CASE status WHEN 'waiting' THEN NULL ELSE wake_at END
WHERE id = ?1 AND status IN ('ready', 'running', 'waiting', 'parked')
RETURNING mail, status, queue, owner;
