-- Begins a commit of several statements: holds the fence, and tells which runs are owned.
-- Returns no row when the executor isn't alive. Else rows (now, run_id), one per owned run of $3, at least one with NULL.
-- Nobody but the executor itself can end the ownership while the fence is held.
--
-- $1 executor id, $2 slot of its writer, $3 run ids
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
)
SELECT f.now, r.id
FROM fence AS f
LEFT JOIN workflow.runs AS r ON r.id = ANY($3::uuid[]) AND r.owner = $1 AND r.status = 'running'
ORDER BY r.id
