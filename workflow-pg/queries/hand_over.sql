-- Gives runs back whose executor leaves. Those that somebody else writes to are left to its end.
-- Returns queue.
--
-- The runs are looked up one by one: a join may be planned as a comparison of all that the executor owns with all of $2.
--
-- $1 executor id, $2 ids of runs
WITH handed AS MATERIALIZED (
    SELECT p.id
    FROM unnest($2::uuid[]) AS t (id)
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM workflow.runs AS r
        JOIN workflow.executors AS x ON x.id = r.owner
        WHERE r.id = t.id AND r.owner = $1 AND r.status = 'running' AND x.state = 'alive'
        LIMIT 1
        FOR UPDATE OF r SKIP LOCKED
    ) AS p
)
UPDATE workflow.runs AS r
SET status = 'ready', owner = NULL, ready_at = clock_timestamp()
WHERE r.id = ANY(ARRAY(SELECT h.id FROM handed AS h))
RETURNING r.queue
