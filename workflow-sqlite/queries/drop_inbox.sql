-- Deletes all messages of runs. Changes one row per message.
-- Per row: run.
DELETE FROM wf_inbox WHERE run IN (
    VALUES (?)
);
