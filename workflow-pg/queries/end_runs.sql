-- Ends runs and adds entries to journals, all or nothing: commit_turns for ends that nobody is sent word of, without a look
-- at the runs beforehand.
-- Returns one row when the executor is alive, else none: now (the time of all of it), the lease_until of the executor, and
-- on_time: whether now isn't before $3, so that it was written. Fails with 22P02, and writes nothing, when a run isn't its
-- own: that happens so seldom that the batch can be written once more, by commit_turns.
--
-- Each run is to be found by its id. So the owner is compared in a way that no index knows (what is owned is running), else
-- all that the executor has are looked through for each; and the id as one of an array of one, which can't be merged, else
-- a plan that was made while there were few runs reads all of them in the order of their ids.
--
-- $1 executor id, $2 slot of its writer, $3 the latest not_before of the batch or NULL
-- ended runs, each once and in the order of their ids: $4 ids, $5 statuses, $6 output codecs, $7 outputs
-- entries: $8 run ids, $9 positions, $10 kinds, $11 names, $12 nths, $13 phases, $14 codecs, $15 payloads, $16 marks
-- $17 version of the entry format
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now, x.lease_until
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
), guard AS MATERIALIZED (
    SELECT f.now, f.lease_until, ($3::timestamptz IS NULL OR f.now >= $3) AS on_time
    FROM fence AS f
), ended AS (
    UPDATE workflow.runs AS r
    SET status = t.status,
        owner = NULL,
        ready_at = NULL,
        wake_at = NULL,
        output_codec = t.output_codec,
        output = t.output,
        finished_at = g.now,
        expires_at = CASE
            WHEN r.parent_id IS NULL THEN g.now + r.retain_us * INTERVAL '1 microsecond'
            ELSE r.expires_at
        END
    FROM guard AS g
    CROSS JOIN unnest($4::uuid[], $5::text[], $6::smallint[], $7::bytea[]) AS t (id, status, output_codec, output)
    WHERE g.on_time AND r.id = ANY (ARRAY[t.id]) AND r.owner IS NOT DISTINCT FROM $1
    RETURNING r.id, r.mail
), added AS (
    INSERT INTO workflow.journal
        (run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at)
    SELECT e.run_id, e.position, e.kind, e.name, e.nth, e.phase, e.codec, e.payload, e.mark, $17, g.now
    FROM guard AS g
    CROSS JOIN unnest(
        $8::uuid[], $9::integer[], $10::text[], $11::text[], $12::integer[], $13::text[], $14::smallint[], $15::bytea[],
        $16::bigint[]
    ) AS e (run_id, position, kind, name, nth, phase, codec, payload, mark)
    WHERE g.on_time
), emptied AS (
    DELETE FROM workflow.inbox AS i
    USING ended AS e
    WHERE e.mail > 0 AND i.run_id = ANY (ARRAY[e.id])
), unsubscribed AS (
    DELETE FROM workflow.subscriptions AS s
    USING ended AS e
    WHERE s.run_id = ANY (ARRAY[e.id])
)
SELECT g.now, g.lease_until,
       CASE
           WHEN NOT g.on_time THEN 'false'
           WHEN c.count = cardinality($4) THEN 'true'
           ELSE 'workflow: ' || cardinality($4) - c.count || ' runs are not the executor''s any more'
       END::boolean AS on_time
FROM guard AS g
CROSS JOIN (SELECT count(*) AS count FROM ended) AS c
