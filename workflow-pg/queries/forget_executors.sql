-- Forgets dead and closed executors that have no runs left.
WITH gone AS MATERIALIZED (
    SELECT x.id
    FROM workflow.executors AS x
    WHERE x.state <> 'alive'
      AND NOT EXISTS (SELECT 1 FROM workflow.runs AS r WHERE r.owner = x.id AND r.status = 'running')
    ORDER BY x.id
    LIMIT 1000
    FOR UPDATE OF x SKIP LOCKED
)
DELETE FROM workflow.executors AS x
USING gone AS g
WHERE x.id = g.id
