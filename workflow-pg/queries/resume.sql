-- Makes parked runs ready again. Returns id, queue.
--
-- $1 run ids or NULL for all, $2 codes or NULL for all, $3 workflows as name@version or NULL for all, $4 how many
WITH parked AS MATERIALIZED (
    SELECT r.id
    FROM workflow.runs AS r
    WHERE r.status = 'parked'
      AND ($1::uuid[] IS NULL OR r.id = ANY($1))
      AND ($2::text[] IS NULL OR r.park_code = ANY($2))
      AND ($3::text[] IS NULL OR (r.workflow || '@' || r.version) = ANY($3))
    ORDER BY r.id
    LIMIT $4
    FOR UPDATE OF r
)
UPDATE workflow.runs AS r
SET status = 'ready', ready_at = clock_timestamp(), wake_at = NULL, crashes = 0, park_code = NULL, park_message = NULL
WHERE r.id = ANY(ARRAY(SELECT p.id FROM parked AS p)) AND r.status = 'parked'
RETURNING r.id, r.queue
