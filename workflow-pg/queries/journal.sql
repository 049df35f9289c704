-- Entries of one run: run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at.
--
-- $1 run id, $2 from this position, $3 how many
SELECT j.run_id, j.position, j.kind, j.name, j.nth, j.phase, j.codec, j.payload, j.mark, j.version, j.recorded_at
FROM workflow.journal AS j
WHERE j.run_id = $1 AND j.position >= $2
ORDER BY j.position
LIMIT $3
