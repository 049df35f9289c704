-- Hangs runs up. Returns those that became ready or got a wake time.
-- Per row: run, how many messages its owner has seen, wake time, now.
WITH turn (run, seen, wake_at, now) AS (
    VALUES (?, ?, ?, ?)
)
UPDATE wf_run SET
    owner = NULL,
    status = CASE WHEN mail > turn.seen THEN 'ready' ELSE 'waiting' END,
    ready_at = CASE WHEN mail > turn.seen THEN turn.now END,
    wake_at = CASE WHEN mail > turn.seen THEN NULL ELSE turn.wake_at END
FROM turn
WHERE wf_run.id = turn.run AND wf_run.status = 'running'
RETURNING wf_run.queue, wf_run.status = 'ready' OR wf_run.wake_at IS NOT NULL AS wakes;
