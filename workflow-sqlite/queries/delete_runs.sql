-- Deletes runs that are over. Changes one row per run.
-- Per row: run.
DELETE FROM wf_run
WHERE status IN ('completed', 'failed', 'cancelled') AND id IN (
    VALUES (?)
);
