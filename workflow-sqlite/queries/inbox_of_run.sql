-- Returns the messages of a run that no commit has consumed.
-- ?1 run.
SELECT run, seq, kind, name, nth, phase, mark, codec, payload FROM wf_inbox WHERE run = ?1 ORDER BY seq;
