-- Locks the writers of an executor, waiting for their commits that are under way. Returns their slots.
--
-- $1 executor id
SELECT w.slot
FROM workflow.executor_writers AS w
WHERE w.executor_id = $1
ORDER BY w.slot
FOR UPDATE OF w
