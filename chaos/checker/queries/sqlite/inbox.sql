-- All messages that no commit has consumed.
SELECT i.run AS run_id, i.seq, i.kind, i.name, i.nth, i.phase, i.mark
FROM wf_inbox AS i
ORDER BY i.run, i.seq
