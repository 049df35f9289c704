-- Takes runs of dead and closed executors: they become ready, or parked when they crashed too often. Runs of a closed
-- executor keep their crash count.
-- Returns id, queue, poisoned.
--
-- $1 how many crashes without progress a run may have, $2 how many runs, $3 only this closed executor, or NULL for all that are over
WITH taken AS MATERIALIZED (
    SELECT r.id, x.state, COALESCE(
               (SELECT max(j.position) + 1 FROM workflow.journal AS j WHERE j.run_id = r.id), 0
           ) AS length
    FROM workflow.executors AS x
    JOIN workflow.runs AS r ON r.owner = x.id AND r.status = 'running'
    WHERE x.state <> 'alive' AND ($3::uuid IS NULL OR (x.id = $3 AND x.state = 'closed'))
    ORDER BY r.id
    LIMIT $2
    FOR UPDATE OF r SKIP LOCKED
), counted AS MATERIALIZED (
    SELECT r.id, t.length, t.state = 'dead' AS crashed, clock_timestamp() AS now,
           CASE
               WHEN t.state = 'closed' THEN r.crashes
               WHEN t.length > r.rescued_length THEN 1
               ELSE r.crashes + 1
           END AS crashes
    FROM taken AS t
    JOIN workflow.runs AS r ON r.id = ANY (ARRAY[t.id])
)
UPDATE workflow.runs AS r
SET status = CASE WHEN c.crashed AND c.crashes > $1 THEN 'parked' ELSE 'ready' END,
    owner = NULL,
    ready_at = CASE WHEN c.crashed AND c.crashes > $1 THEN NULL ELSE c.now END,
    crashes = c.crashes,
    rescued_length = CASE WHEN c.crashed THEN c.length ELSE r.rescued_length END,
    park_code = CASE WHEN c.crashed AND c.crashes > $1 THEN 'POISONED' END,
    park_message = CASE
        WHEN c.crashed AND c.crashes > $1
            THEN 'its executor died ' || c.crashes || ' times while it made no progress: mend what kills the process, then resume the run'
    END
FROM counted AS c
WHERE r.id = ANY (ARRAY[c.id]) AND r.status = 'running'
RETURNING r.id, r.queue, r.status = 'parked' AS poisoned
