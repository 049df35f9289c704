-- All journals.
SELECT j.run_id, j.position::bigint AS position, j.kind, j.name, j.nth::bigint AS nth, j.phase, j.codec::bigint AS codec,
       j.payload, j.mark, j.recorded_at
FROM workflow.journal AS j
ORDER BY j.run_id, j.position
