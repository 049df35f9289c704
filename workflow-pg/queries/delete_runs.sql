-- Deletes runs that are locked and have no children left, with all that belongs to them. Returns how many runs.
--
-- Children are looked for run by run (OFFSET 0), and not all there are once.
--
-- $1 ids
WITH gone AS MATERIALIZED (
    DELETE FROM workflow.runs AS r
    WHERE r.id = ANY($1::uuid[])
      AND r.finished_at IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM workflow.runs AS c WHERE c.parent_id = r.id OFFSET 0)
    RETURNING r.id
), entries AS (
    DELETE FROM workflow.journal AS j USING gone AS g WHERE j.run_id = ANY (ARRAY[g.id])
), messages AS (
    DELETE FROM workflow.inbox AS i USING gone AS g WHERE i.run_id = ANY (ARRAY[g.id])
), waits AS (
    DELETE FROM workflow.subscriptions AS s USING gone AS g WHERE s.run_id = ANY (ARRAY[g.id])
)
SELECT count(*)
FROM gone
