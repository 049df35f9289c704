-- Returns runs of one queue to claim, in the order in which they became ready or due.
-- ?1 queue, ?2 JSON array of [workflow, version], ?3 now, ?4 how many at most.
WITH kind AS (SELECT value ->> 0 AS workflow, value ->> 1 AS version FROM json_each(?2)),
candidate AS (
    SELECT r.rowid AS place, r.ready_at AS since, r.id AS id
    FROM kind AS k CROSS JOIN wf_run AS r ON r.rowid IN (
        SELECT s.rowid FROM wf_run AS s
        WHERE s.status = 'ready' AND s.queue = ?1 AND s.workflow = k.workflow AND s.version = k.version
        ORDER BY s.ready_at, s.id
        LIMIT ?4
    )
    UNION ALL
    SELECT r.rowid AS place, r.wake_at AS since, r.id AS id
    FROM kind AS k CROSS JOIN wf_run AS r ON r.rowid IN (
        SELECT s.rowid FROM wf_run AS s
        WHERE s.status = 'waiting' AND s.queue = ?1 AND s.workflow = k.workflow AND s.version = k.version
            AND s.wake_at IS NOT NULL AND s.wake_at <= ?3
        ORDER BY s.wake_at, s.id
        LIMIT ?4
    )
),
chosen AS (SELECT DISTINCT place, since, id FROM candidate ORDER BY since, id LIMIT ?4)
SELECT
    r.id, r.workflow, r.version, r.queue, r.input_codec, r.input,
    r.parent_run, r.parent_kind, r.parent_name, r.parent_nth, r.depth, r.created_at, r.mail
FROM chosen AS c CROSS JOIN wf_run AS r ON r.rowid = c.place
ORDER BY c.since, c.id
LIMIT ?4;
