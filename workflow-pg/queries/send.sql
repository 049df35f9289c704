-- Sends messages to runs from outside of one. Locks the runs by id.
-- Returns a row per run of $1 that exists: run_id, status after it, mail after it, owner, queue, and ended: whether it
-- was over, so that its messages were dropped.
--
-- Messages and runs are joined in full and then filtered (OFFSET 0), since a full join is never planned as a comparison of
-- each message with each run, however few the planner expects.
--
-- runs, every run once: $1 ids, $2 how many messages to it
-- messages: $3 run ids, $4 the how-manieth of this batch to that run (from 1), $5 kinds, $6 names, $7 nths, $8 phases,
-- $9 codecs, $10 payloads (NULL: of the event), $11 marks, $12 event ids or NULL
-- subscriptions that end: $13 run ids, $14 kinds, $15 names, $16 nths
WITH locked AS MATERIALIZED (
    SELECT r.id, r.status, r.mail, r.owner, r.queue, t.sent, r.status IN ('completed', 'failed', 'cancelled') AS ended
    FROM unnest($1::uuid[], $2::bigint[]) AS t (id, sent)
    JOIN workflow.runs AS r ON r.id = ANY (ARRAY[t.id])
    ORDER BY t.id
    FOR UPDATE OF r
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now, count(*) AS runs
    FROM locked
), changed AS (
    UPDATE workflow.runs AS r
    SET mail = r.mail + t.sent,
        status = CASE WHEN r.status = 'waiting' THEN 'ready' ELSE r.status END,
        ready_at = CASE WHEN r.status = 'waiting' THEN k.now ELSE r.ready_at END,
        wake_at = NULL
    FROM clock AS k
    CROSS JOIN unnest($1::uuid[], $2::bigint[]) AS t (id, sent)
    WHERE r.id = ANY (ARRAY[t.id]) AND t.sent > 0 AND r.status NOT IN ('completed', 'failed', 'cancelled')
    RETURNING r.id, r.mail - t.sent AS mail
), posted AS (
    INSERT INTO workflow.inbox (run_id, seq, kind, name, nth, phase, codec, payload, mark, sent_at)
    SELECT m.id, m.mail + m.number, m.kind, m.name, m.nth, m.phase, COALESCE(v.codec, m.codec),
           COALESCE(v.payload, m.payload), m.mark, k.now
    FROM clock AS k
    CROSS JOIN (
        SELECT c.id, c.mail, g.run_id, g.number, g.kind, g.name, g.nth, g.phase, g.codec, g.payload, g.mark, g.event_id
        FROM changed AS c
        FULL JOIN unnest(
            $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::integer[], $8::text[], $9::smallint[], $10::bytea[],
            $11::bigint[], $12::uuid[]
        ) AS g (run_id, number, kind, name, nth, phase, codec, payload, mark, event_id) ON g.run_id = c.id
        OFFSET 0
    ) AS m
    LEFT JOIN workflow.events AS v ON v.id = ANY (ARRAY[m.event_id])
    WHERE m.id IS NOT NULL AND m.run_id IS NOT NULL
), ended AS (
    DELETE FROM workflow.subscriptions AS s
    USING clock AS k, unnest($13::uuid[], $14::text[], $15::text[], $16::integer[]) AS c (run_id, kind, name, nth)
    WHERE k.runs >= 0 AND s.run_id = ANY (ARRAY[c.run_id]) AND s.kind = c.kind AND s.name = c.name AND s.nth = c.nth
)
SELECT l.id,
       CASE WHEN l.status = 'waiting' AND l.sent > 0 THEN 'ready' ELSE l.status END AS status,
       l.mail + CASE WHEN l.ended THEN 0 ELSE l.sent END AS mail, l.owner, l.queue, l.ended
FROM locked AS l
ORDER BY l.id
