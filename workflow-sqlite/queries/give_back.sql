-- Makes runs ready that their executor, which lives, gives back. Returns their queues.
-- Per row: run, executor, now.
WITH given (run, executor, now) AS (
    VALUES (?, ?, ?)
)
UPDATE wf_run SET status = 'ready', owner = NULL, ready_at = given.now
FROM given
WHERE wf_run.id = given.run AND wf_run.owner = given.executor
    AND EXISTS (SELECT 1 FROM wf_executor AS x WHERE x.id = given.executor AND x.dead = 0)
RETURNING queue;
