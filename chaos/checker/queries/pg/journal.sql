-- All journals.
SELECT j.run_id, j.position::bigint AS position, j.kind, j.name, j.nth::bigint AS nth, j.phase, j.codec::bigint AS codec,
       j.payload, j.mark, j.recorded_at,
       CASE WHEN current_setting('track_commit_timestamp')::boolean THEN pg_xact_commit_timestamp(j.xmin) END AS committed_at
FROM workflow.journal AS j
ORDER BY j.run_id, j.position
