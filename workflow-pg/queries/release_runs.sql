-- Gives runs back whose owner never learned that it owns them, because its claim got no answer.
-- Returns queue.
--
-- $1 executor id, $2 id of the claim
WITH lost AS MATERIALIZED (
    SELECT r.id
    FROM workflow.runs AS r
    WHERE r.status = 'running' AND r.owner = $1 AND r.claim_id = $2
    ORDER BY r.id
    FOR UPDATE OF r
)
UPDATE workflow.runs AS r
SET status = 'ready', owner = NULL, ready_at = clock_timestamp()
WHERE r.id = ANY(ARRAY(SELECT l.id FROM lost AS l))
RETURNING r.queue
