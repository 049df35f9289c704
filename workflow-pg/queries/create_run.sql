-- Creates one run that its owner has from the start: create_runs for a lone one, at half its cost beyond the commit itself.
-- Returns created_at; no row, and nothing written, when its owner isn't alive or its id or invoke_id exists.
--
-- $1 id, $2 workflow, $3 version, $4 queue, $5 input codec, $6 input, $7 input digest, $8 invoke_id or NULL, $9 depth,
-- $10 retention in microseconds, $11 owner, $12 slot of its writer
WITH fence AS MATERIALIZED (
    SELECT w.executor_id, clock_timestamp() AS now
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $11 AND w.slot = $12 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
)
INSERT INTO workflow.runs (
    id, workflow, version, queue, status, input_codec, input, input_digest, invoke_id, depth, retain_us, owner, created_at
)
SELECT $1::uuid, $2::text, $3::integer, $4::text, 'running', $5::smallint, $6::bytea, $7::bytea, $8::text, $9::integer,
       $10::bigint, f.executor_id, f.now
FROM fence AS f
ON CONFLICT DO NOTHING
RETURNING created_at
