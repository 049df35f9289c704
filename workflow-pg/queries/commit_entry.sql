-- Adds one entry to the journal of a run whose executor keeps it: commit_entries for a lone step, at half its cost
-- beyond the commit itself.
-- Returns its time and the lease_until of the executor; no row, and nothing written, when that isn't alive or it is before
-- $3.
--
-- $1 executor id, $2 slot of its writer, $3 not_before or NULL
-- $4 run id, $5 position, $6 kind, $7 name, $8 nth, $9 phase, $10 codec, $11 payload, $12 mark
-- $13 version of the entry format
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now, x.lease_until
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
)
INSERT INTO workflow.journal
    (run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at)
SELECT $4::uuid, $5::integer, $6::text, $7::text, $8::integer, $9::text, $10::smallint, $11::bytea, $12::bigint, $13, f.now
FROM fence AS f
WHERE $3::timestamptz IS NULL OR f.now >= $3
RETURNING recorded_at AS now, (SELECT f.lease_until FROM fence AS f) AS lease_until
