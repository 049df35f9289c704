-- Claims runs that are ready or due, up to the room of each queue, skipping those that others are just claiming.
-- Returns no row when the executor isn't alive. Else rows (now, id, workflow, version, queue, input_codec, input,
-- parent_id, parent_kind, parent_name, parent_nth, depth, created_at, mail, next_due), one per claimed run, at least one with
-- NULLs for the run. next_due: when the next hung-up run of these queues is due after now.
--
-- Ready and due runs have an index each. The one whose head has waited longer is served first, and the other gets the
-- room that is left, so that neither starves and no row is locked that isn't taken. The last step looks the runs up by an array of ids, because a join would be
-- planned as a scan of the whole table.
--
-- $1 executor id, $2 slot of its writer, $3 id of this claim, $4 queues, $5 the room of each,
-- $6 workflows as name@version
WITH fence AS MATERIALIZED (
    SELECT clock_timestamp() AS now
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    FOR KEY SHARE OF w
), head AS MATERIALIZED (
    SELECT q.queue, q.room, f.now,
           COALESCE(
               (
                   SELECT r.wake_at
                   FROM workflow.runs AS r
                   WHERE r.status = 'waiting' AND r.wake_at IS NOT NULL AND r.queue = q.queue AND r.wake_at <= f.now
                   ORDER BY r.wake_at, r.id
                   LIMIT 1
               ) <= (
                   SELECT r.ready_at
                   FROM workflow.runs AS r
                   WHERE r.status = 'ready' AND r.queue = q.queue
                   ORDER BY r.ready_at, r.id
                   LIMIT 1
               ),
               TRUE
           ) AS due_first
    FROM fence AS f
    CROSS JOIN unnest($4::text[], $5::bigint[]) AS q (queue, room)
), due AS MATERIALIZED (
    SELECT h.queue, p.id
    FROM head AS h
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM workflow.runs AS r
        WHERE r.status = 'waiting' AND r.wake_at IS NOT NULL AND r.queue = h.queue AND r.wake_at <= h.now
          AND (r.workflow || '@' || r.version) = ANY($6::text[])
        ORDER BY r.wake_at, r.id
        LIMIT CASE WHEN h.due_first THEN h.room ELSE 0 END
        FOR UPDATE OF r SKIP LOCKED
    ) AS p
), ready AS MATERIALIZED (
    SELECT h.queue, p.id
    FROM head AS h
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM workflow.runs AS r
        WHERE r.status = 'ready' AND r.queue = h.queue
          AND (r.workflow || '@' || r.version) = ANY($6::text[])
        ORDER BY r.ready_at, r.id
        LIMIT h.room - (SELECT count(*) FROM due AS d WHERE d.queue = h.queue)
        FOR UPDATE OF r SKIP LOCKED
    ) AS p
), late AS MATERIALIZED (
    SELECT h.queue, p.id
    FROM head AS h
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM workflow.runs AS r
        WHERE r.status = 'waiting' AND r.wake_at IS NOT NULL AND r.queue = h.queue AND r.wake_at <= h.now
          AND (r.workflow || '@' || r.version) = ANY($6::text[])
        ORDER BY r.wake_at, r.id
        LIMIT CASE WHEN h.due_first THEN 0 ELSE h.room - (SELECT count(*) FROM ready AS y WHERE y.queue = h.queue) END
        FOR UPDATE OF r SKIP LOCKED
    ) AS p
), picked AS MATERIALIZED (
    SELECT d.id FROM due AS d
    UNION ALL
    SELECT y.id FROM ready AS y
    UNION ALL
    SELECT l.id FROM late AS l
), next AS MATERIALIZED (
    SELECT min(p.wake_at) AS next_due
    FROM head AS h
    CROSS JOIN LATERAL (
        SELECT r.wake_at
        FROM workflow.runs AS r
        WHERE r.status = 'waiting' AND r.wake_at IS NOT NULL AND r.queue = h.queue AND r.wake_at > h.now
        ORDER BY r.wake_at, r.id
        LIMIT 1
    ) AS p
), claimed AS (
    UPDATE workflow.runs AS r
    SET status = 'running', owner = $1, claim_id = $3, ready_at = NULL, wake_at = NULL
    WHERE r.id = ANY(ARRAY(SELECT p.id FROM picked AS p)) AND r.status IN ('ready', 'waiting')
    RETURNING r.id, r.workflow, r.version, r.queue, r.input_codec, r.input, r.parent_id, r.parent_kind, r.parent_name,
              r.parent_nth, r.depth, r.created_at, r.mail
)
SELECT f.now, c.id, c.workflow, c.version, c.queue, c.input_codec, c.input, c.parent_id, c.parent_kind, c.parent_name,
       c.parent_nth, c.depth, c.created_at, c.mail, n.next_due
FROM fence AS f
CROSS JOIN next AS n
LEFT JOIN claimed AS c ON TRUE
ORDER BY c.id
