-- One journal.
--
-- $1 the run
SELECT j.run_id, j.position::bigint AS position, j.kind, j.name, j.nth::bigint AS nth, j.phase, j.codec::bigint AS codec,
       j.payload, j.mark, (extract(epoch FROM j.recorded_at) * 1000000)::bigint AS recorded_at,
       CASE WHEN current_setting('track_commit_timestamp')::boolean
            THEN (extract(epoch FROM pg_xact_commit_timestamp(j.xmin)) * 1000000)::bigint
       END AS committed_at
FROM workflow.journal AS j
WHERE j.run_id = $1
ORDER BY j.position
