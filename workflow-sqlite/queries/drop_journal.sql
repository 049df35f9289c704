-- Deletes the journals of runs. Changes one row per entry.
-- Per row: run.
DELETE FROM wf_journal WHERE run IN (
    VALUES (?)
);
