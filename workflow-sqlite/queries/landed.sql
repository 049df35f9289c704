-- Returns whether a journal has an entry at a position.
-- ?1 run, ?2 position.
SELECT EXISTS (SELECT 1 FROM wf_journal WHERE run = ?1 AND position = ?2) AS landed;
