-- Ends an executor whose writers are locked: takes its fence away. Returns its id, or nothing when there was nothing to
-- end: it is unknown, over already, or (for 'dead') has renewed its lease in time.
--
-- $1 executor id, $2 the new state: 'closed' or 'dead'
WITH ended AS (
    UPDATE workflow.executors AS x
    SET state = $2
    WHERE x.id = $1 AND x.state = 'alive' AND ($2 = 'closed' OR x.lease_until <= clock_timestamp())
    RETURNING x.id
), fence AS (
    DELETE FROM workflow.executor_writers AS w
    USING ended AS e
    WHERE w.executor_id = e.id
)
SELECT e.id
FROM ended AS e
