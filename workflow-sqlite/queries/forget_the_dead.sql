-- Forgets dead executors without runs. Returns nothing.
DELETE FROM wf_executor
WHERE dead = 1 AND NOT EXISTS (SELECT 1 FROM wf_run AS r WHERE r.owner = wf_executor.id);
