-- Gives runs back whose executor leaves. Those that somebody else writes to are left to its end.
-- Returns queue.
--
-- $1 executor id, $2 ids of runs
WITH handed AS MATERIALIZED (
    SELECT r.id
    FROM unnest($2::uuid[]) AS t (id)
    JOIN workflow.runs AS r ON r.id = t.id
    JOIN workflow.executors AS x ON x.id = r.owner
    WHERE r.owner = $1 AND r.status = 'running' AND x.state = 'alive'
    ORDER BY r.id
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE workflow.runs AS r
SET status = 'ready', owner = NULL, ready_at = clock_timestamp()
WHERE r.id = ANY(ARRAY(SELECT h.id FROM handed AS h))
RETURNING r.queue
