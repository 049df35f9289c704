-- Deletes the messages of runs up to a seq. Changes one row per message.
-- Per row: run, seq.
WITH consumed (run, seq) AS (
    VALUES (?, ?)
)
DELETE FROM wf_inbox WHERE rowid IN (
    SELECT m.rowid FROM consumed CROSS JOIN wf_inbox AS m ON m.run = consumed.run AND m.seq <= consumed.seq
);
