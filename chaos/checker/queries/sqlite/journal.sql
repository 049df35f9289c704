-- All journals.
SELECT j.run AS run_id, j.position, j.kind, j.name, j.nth, j.phase, j.codec, j.payload, j.mark, j.recorded_at,
       NULL AS committed_at
FROM wf_journal AS j
ORDER BY j.run, j.position
