-- The whole journals of claimed runs: run_id, position, kind, name, nth, phase, codec, payload, mark, version,
-- recorded_at. No limit: a claim brings whole journals, and their length is limited when they are written.
--
-- $1 run ids
SELECT j.run_id, j.position, j.kind, j.name, j.nth, j.phase, j.codec, j.payload, j.mark, j.version, j.recorded_at
FROM workflow.journal AS j
WHERE j.run_id = ANY($1::uuid[])
ORDER BY j.run_id, j.position
