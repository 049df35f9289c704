-- One journal.
--
-- ?1 the run
SELECT j.run AS run_id, j.position, j.kind, j.name, j.nth, j.phase, j.codec, j.payload, j.mark, j.recorded_at,
       NULL AS committed_at
FROM wf_journal AS j
WHERE j.run = ?1
ORDER BY j.position
