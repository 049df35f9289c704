-- All messages that no commit has consumed.
SELECT i.run_id, i.seq, i.kind, i.name, i.nth::bigint AS nth, i.phase, i.mark
FROM workflow.inbox AS i
ORDER BY i.run_id, i.seq
