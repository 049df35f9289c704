-- The whole inboxes of claimed runs: run_id, seq, kind, name, nth, phase, codec, payload, mark.
--
-- $1 run ids
SELECT i.run_id, i.seq, i.kind, i.name, i.nth, i.phase, i.codec, i.payload, i.mark
FROM workflow.inbox AS i
WHERE i.run_id = ANY($1::uuid[])
ORDER BY i.run_id, i.seq
