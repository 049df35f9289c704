-- Adds one entry inside a user's transaction, if the executor is alive and owns the run.
-- Returns no row when it isn't alive. Else: now (the time of the entry), and written: whether it owns the run.
--
-- $1 executor id, $2 slot of its writer, $3 run id, $4 position, $5 kind, $6 name, $7 nth, $8 phase, $9 codec,
-- $10 payload, $11 mark, $12 version of the entry format, $13 how long the transaction may be idle from here on, where
-- it holds the fence, in milliseconds
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
), added AS (
    INSERT INTO workflow.journal
        (run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at)
    SELECT r.id, $4, $5, $6, $7, $8, $9, $10, $11, $12, f.now
    FROM fence AS f
    JOIN workflow.runs AS r ON r.id = $3 AND r.owner = $1 AND r.status = 'running'
    RETURNING run_id
)
SELECT f.now, EXISTS (SELECT 1 FROM added AS a) AS written,
       set_config('idle_in_transaction_session_timeout', $13, TRUE) AS idle
FROM fence AS f
