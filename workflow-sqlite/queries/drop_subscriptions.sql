-- Deletes all subscriptions of runs. Changes one row per subscription.
-- Per row: run.
DELETE FROM wf_subscription WHERE run IN (
    VALUES (?)
);
