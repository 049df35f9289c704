-- Ends one run, without entries or messages: end_runs for a lone run, whose few parameters take less time.
-- Returns now and the lease_until of the executor; no row, and nothing written, when that isn't alive, the run isn't its
-- own, or it is before $4.
--
-- $1 executor id, $2 slot of its writer, $3 run id, $4 not_before or NULL, $5 status, $6 output codec, $7 output
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now, x.lease_until
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
), ended AS (
    UPDATE workflow.runs AS r
    SET status = $5,
        owner = NULL,
        ready_at = NULL,
        wake_at = NULL,
        output_codec = $6,
        output = $7,
        finished_at = f.now,
        expires_at = CASE
            WHEN r.parent_id IS NULL THEN f.now + r.retain_us * INTERVAL '1 microsecond'
            ELSE r.expires_at
        END
    FROM fence AS f
    WHERE r.id = $3 AND r.owner = $1 AND r.status = 'running' AND ($4::timestamptz IS NULL OR f.now >= $4)
    RETURNING r.id, r.mail, f.now, f.lease_until
), emptied AS (
    DELETE FROM workflow.inbox AS i
    USING ended AS e
    WHERE e.mail > 0 AND i.run_id = ANY (ARRAY[e.id])
), unsubscribed AS (
    DELETE FROM workflow.subscriptions AS s
    USING ended AS e
    WHERE s.run_id = ANY (ARRAY[e.id])
)
SELECT e.now, e.lease_until
FROM ended AS e
