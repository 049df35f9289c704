-- Adds entries to the journals of runs whose executor keeps them. Touches no run.
-- Returns one row when the executor is alive, else none: now (the time of the entries), the lease_until of the executor,
-- and on_time: whether now isn't before $3, so that they were written.
--
-- $1 executor id, $2 slot of its writer, $3 the latest not_before of the batch or NULL
-- $4 run ids, $5 positions, $6 kinds, $7 names, $8 nths, $9 phases, $10 codecs, $11 payloads, $12 marks: an item per entry
-- $13 version of the entry format
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now, x.lease_until
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
), added AS (
    INSERT INTO workflow.journal
        (run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at)
    SELECT e.run_id, e.position, e.kind, e.name, e.nth, e.phase, e.codec, e.payload, e.mark, $13, f.now
    FROM fence AS f
    CROSS JOIN unnest(
        $4::uuid[], $5::integer[], $6::text[], $7::text[], $8::integer[], $9::text[], $10::smallint[], $11::bytea[],
        $12::bigint[]
    ) AS e (run_id, position, kind, name, nth, phase, codec, payload, mark)
    WHERE $3::timestamptz IS NULL OR f.now >= $3
)
SELECT f.now, f.lease_until, ($3::timestamptz IS NULL OR f.now >= $3) AS on_time
FROM fence AS f
