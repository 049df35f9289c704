-- Returns those runs that their executor owns.
-- Per row: run, executor.
WITH asked (run, executor) AS (
    VALUES (?, ?)
)
SELECT r.id FROM asked CROSS JOIN wf_run AS r ON r.id = asked.run
WHERE r.owner = asked.executor AND r.status = 'running'
ORDER BY r.id;
