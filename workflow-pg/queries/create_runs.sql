-- Creates runs. What happens to those whose id or invoke_id exists is said behind it (`sql.rs`), and what is returned.
--
-- runs: $1 ids, $2 workflows, $3 versions, $4 queues, $5 input codecs, $6 inputs, $7 input digests, $8 invoke_ids,
-- $9 parent ids, $10 parent kinds, $11 parent names, $12 parent nths, $13 depths, $14 delays in microseconds or NULL,
-- $15 retentions in microseconds, $16 owners or NULL
-- $17 owners, every one once; $18 slot of their writers
-- $19 the time of the batch when its fence is held already, so that the lease isn't looked at again; or NULL
WITH alive AS MATERIALIZED (
    SELECT w.executor_id
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = ANY($17::uuid[]) AND w.slot = $18 AND x.state = 'alive'
      AND ($19::timestamptz IS NOT NULL OR x.lease_until > clock_timestamp())
    ORDER BY w.executor_id
    FOR KEY SHARE OF w
), clock AS MATERIALIZED (
    SELECT COALESCE($19, clock_timestamp()) AS now
), given AS (
    SELECT g.id, g.workflow, g.version, g.queue, g.input_codec, g.input, g.input_digest, g.invoke_id, g.parent_id,
           g.parent_kind, g.parent_name, g.parent_nth, g.depth, g.delay_us, g.retain_us,
           CASE WHEN g.delay_us IS NULL AND g.owner IN (SELECT a.executor_id FROM alive AS a) THEN g.owner END AS owner
    FROM unnest(
        $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::smallint[], $6::bytea[], $7::bytea[], $8::text[],
        $9::uuid[], $10::text[], $11::text[], $12::integer[], $13::integer[], $14::bigint[], $15::bigint[], $16::uuid[]
    ) AS g (
        id, workflow, version, queue, input_codec, input, input_digest, invoke_id, parent_id, parent_kind, parent_name,
        parent_nth, depth, delay_us, retain_us, owner
    )
)
INSERT INTO workflow.runs AS r (
    id, workflow, version, queue, status, input_codec, input, input_digest, invoke_id, parent_id, parent_kind,
    parent_name, parent_nth, depth, retain_us, owner, ready_at, wake_at, created_at
)
SELECT g.id, g.workflow, g.version, g.queue,
       CASE WHEN g.delay_us IS NOT NULL THEN 'waiting' WHEN g.owner IS NOT NULL THEN 'running' ELSE 'ready' END,
       g.input_codec, g.input, g.input_digest, g.invoke_id, g.parent_id, g.parent_kind, g.parent_name, g.parent_nth,
       g.depth, g.retain_us, g.owner,
       CASE WHEN g.delay_us IS NULL AND g.owner IS NULL THEN k.now END,
       k.now + g.delay_us * INTERVAL '1 microsecond',
       k.now
FROM given AS g
CROSS JOIN clock AS k
ORDER BY g.invoke_id COLLATE "C" NULLS FIRST, g.id
