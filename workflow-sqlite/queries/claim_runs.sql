-- Gives runs to their claimer. Changes one row per run that is still to be had.
-- Per row: run, executor.
WITH claimed (run, executor) AS (
    VALUES (?, ?)
)
UPDATE wf_run SET status = 'running', owner = claimed.executor, ready_at = NULL, wake_at = NULL
FROM claimed
WHERE wf_run.id = claimed.run AND wf_run.status IN ('ready', 'waiting');
