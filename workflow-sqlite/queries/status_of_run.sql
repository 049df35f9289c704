-- Returns the status of a run.
-- ?1 run.
SELECT status FROM wf_run WHERE id = ?1;
