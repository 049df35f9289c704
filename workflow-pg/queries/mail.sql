-- The messages of the runs an executor owns: run_id, seq, kind, name, nth, phase, codec, payload, mark.
--
-- $1 executor id, $2 how many
SELECT i.run_id, i.seq, i.kind, i.name, i.nth, i.phase, i.codec, i.payload, i.mark
FROM workflow.runs AS r
JOIN workflow.inbox AS i ON i.run_id = r.id
WHERE r.status = 'running' AND r.owner = $1
ORDER BY i.run_id, i.seq
LIMIT $2
