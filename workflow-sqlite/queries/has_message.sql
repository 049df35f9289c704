-- Returns whether a message with this key is in the inbox of a run.
-- ?1 run, ?2 kind, ?3 name, ?4 nth.
SELECT EXISTS (SELECT 1 FROM wf_inbox WHERE run = ?1 AND kind = ?2 AND name = ?3 AND nth = ?4) AS found;
