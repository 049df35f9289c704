-- Commits turns that change runs: entries, messages, ends, hang-ups and parks, all or nothing.
-- Returns no row when the executor isn't alive. Else rows (now, lease_until of the executor, done, run_id, status, mail,
-- owner, queue):
-- when done, a row per changed run as it is now; when not done (it is before $3, or not all of the runs that change
-- are owned) nothing was written and there is a row per run that is owned. At least one row, with NULLs if need be.
--
-- The runs are locked by id before anything is written; `changed` reads mail from the locked row itself. Messages are
-- joined to their runs as in send.
--
-- $1 executor id, $2 slot of its writer, $3 the latest not_before of the batch or NULL
-- runs, an item each, every run once: $4 ids, $5 thens ('finish', 'hang_up', 'park', or NULL for none), $6 final
-- statuses, $7 output codecs, $8 outputs, $9 messages seen, $10 wake times, $11 wake delays in microseconds,
-- $12 park codes, $13 park messages, $14 how many messages this batch sends to it
-- $15 how many of $5 aren't NULL
-- entries: $16 run ids, $17 positions, $18 kinds, $19 names, $20 nths, $21 phases, $22 codecs, $23 payloads, $24 marks
-- messages: $25 run ids, $26 the how-manieth of this batch to that run (from 1), $27 kinds, $28 names, $29 nths,
-- $30 phases, $31 codecs, $32 payloads (NULL: of the event), $33 marks, $34 event ids or NULL
-- consumed messages: $35 run ids, $36 up to which seq
-- $37 runs whose inbox and subscriptions go
-- ended subscriptions: $38 run ids, $39 kinds, $40 names, $41 nths
-- $42 version of the entry format, $43 the time of the batch when its fence is held already, or NULL
WITH fence AS MATERIALIZED (
    SELECT COALESCE($43::timestamptz, clock_timestamp()) AS now, x.lease_until
    FROM workflow.executor_writers AS w
    JOIN workflow.executors AS x ON x.id = w.executor_id
    WHERE w.executor_id = $1 AND w.slot = $2 AND x.state = 'alive'
      AND ($43 IS NOT NULL OR x.lease_until > clock_timestamp())
    FOR KEY SHARE OF w
), locked AS MATERIALIZED (
    SELECT r.id, r.status, r.mail, r.owner, r.queue,
           (t.what IS NOT NULL AND r.owner = $1 AND r.status = 'running') AS mine
    FROM fence AS f
    CROSS JOIN unnest($4::uuid[], $5::text[]) AS t (id, what)
    JOIN workflow.runs AS r ON r.id = ANY (ARRAY[t.id])
    ORDER BY t.id
    FOR UPDATE OF r
), guard AS MATERIALIZED (
    SELECT f.now, f.lease_until,
           ($3::timestamptz IS NULL OR f.now >= $3)
           AND (SELECT count(*) FROM locked AS l WHERE l.mine) = $15::bigint AS done
    FROM fence AS f
), changed AS (
    UPDATE workflow.runs AS r
    SET status = CASE
            WHEN t.what = 'finish' THEN t.status
            WHEN t.what = 'park' THEN 'parked'
            WHEN t.what = 'hang_up' AND r.mail + t.sent <= t.seen THEN 'waiting'
            WHEN t.what = 'hang_up' OR r.status = 'waiting' THEN 'ready'
            ELSE r.status
        END,
        owner = CASE WHEN t.what IS NULL THEN r.owner END,
        ready_at = CASE
            WHEN t.what = 'hang_up' AND r.mail + t.sent > t.seen THEN g.now
            WHEN t.what IS NULL AND r.status = 'waiting' THEN g.now
            WHEN t.what IS NULL THEN r.ready_at
        END,
        wake_at = CASE
            WHEN t.what = 'hang_up' AND r.mail + t.sent <= t.seen
                THEN LEAST(t.wake_at, g.now + t.wake_after_us * INTERVAL '1 microsecond')
        END,
        mail = r.mail + t.sent,
        output_codec = CASE WHEN t.what = 'finish' THEN t.output_codec ELSE r.output_codec END,
        output = CASE WHEN t.what = 'finish' THEN t.output ELSE r.output END,
        park_code = CASE WHEN t.what = 'park' THEN t.park_code ELSE r.park_code END,
        park_message = CASE WHEN t.what = 'park' THEN t.park_message ELSE r.park_message END,
        finished_at = CASE WHEN t.what = 'finish' THEN g.now ELSE r.finished_at END,
        expires_at = CASE
            WHEN t.what = 'finish' AND r.parent_id IS NULL THEN g.now + r.retain_us * INTERVAL '1 microsecond'
            ELSE r.expires_at
        END
    FROM guard AS g
    CROSS JOIN unnest(
        $4::uuid[], $5::text[], $6::text[], $7::smallint[], $8::bytea[], $9::bigint[], $10::timestamptz[],
        $11::bigint[], $12::text[], $13::text[], $14::bigint[]
    ) AS t (
        id, what, status, output_codec, output, seen, wake_at, wake_after_us, park_code, park_message, sent
    )
    WHERE g.done
      AND r.id = ANY (ARRAY[t.id])
      AND (t.what IS NOT NULL OR (t.sent > 0 AND r.status NOT IN ('completed', 'failed', 'cancelled')))
    RETURNING r.id, r.status, r.mail, r.owner, r.queue, t.sent
), added AS (
    INSERT INTO workflow.journal
        (run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at)
    SELECT e.run_id, e.position, e.kind, e.name, e.nth, e.phase, e.codec, e.payload, e.mark, $42, g.now
    FROM guard AS g
    CROSS JOIN unnest(
        $16::uuid[], $17::integer[], $18::text[], $19::text[], $20::integer[], $21::text[], $22::smallint[],
        $23::bytea[], $24::bigint[]
    ) AS e (run_id, position, kind, name, nth, phase, codec, payload, mark)
    WHERE g.done
), posted AS (
    INSERT INTO workflow.inbox (run_id, seq, kind, name, nth, phase, codec, payload, mark, sent_at)
    SELECT m.id, m.mail + m.number, m.kind, m.name, m.nth, m.phase, COALESCE(v.codec, m.codec),
           COALESCE(v.payload, m.payload), m.mark, g.now
    FROM guard AS g
    CROSS JOIN (
        SELECT c.id, c.mail - c.sent AS mail, c.status, p.run_id, p.number, p.kind, p.name, p.nth, p.phase, p.codec,
               p.payload, p.mark, p.event_id
        FROM changed AS c
        FULL JOIN unnest(
            $25::uuid[], $26::bigint[], $27::text[], $28::text[], $29::integer[], $30::text[], $31::smallint[],
            $32::bytea[], $33::bigint[], $34::uuid[]
        ) AS p (run_id, number, kind, name, nth, phase, codec, payload, mark, event_id) ON p.run_id = c.id
        OFFSET 0
    ) AS m
    LEFT JOIN workflow.events AS v ON v.id = ANY (ARRAY[m.event_id])
    WHERE m.id IS NOT NULL AND m.run_id IS NOT NULL AND m.status NOT IN ('completed', 'failed', 'cancelled')
), consumed AS (
    DELETE FROM workflow.inbox AS i
    USING guard AS g, unnest($35::uuid[], $36::bigint[]) AS c (run_id, seq)
    WHERE g.done AND i.run_id = ANY (ARRAY[c.run_id]) AND i.seq <= c.seq
), emptied AS (
    DELETE FROM workflow.inbox AS i
    USING guard AS g, unnest($37::uuid[]) AS c (run_id)
    WHERE g.done AND i.run_id = ANY (ARRAY[c.run_id])
), ended AS (
    DELETE FROM workflow.subscriptions AS s
    USING guard AS g, unnest($37::uuid[]) AS c (run_id)
    WHERE g.done AND s.run_id = ANY (ARRAY[c.run_id])
), unsubscribed AS (
    DELETE FROM workflow.subscriptions AS s
    USING guard AS g, unnest($38::uuid[], $39::text[], $40::text[], $41::integer[]) AS c (run_id, kind, name, nth)
    WHERE g.done AND s.run_id = ANY (ARRAY[c.run_id]) AND s.kind = c.kind AND s.name = c.name AND s.nth = c.nth
)
SELECT g.now, g.lease_until, g.done, c.id, c.status, c.mail, c.owner, c.queue
FROM guard AS g
LEFT JOIN (
    SELECT n.id, n.status, n.mail, n.owner, n.queue
    FROM changed AS n
    UNION ALL
    SELECT l.id, l.status, l.mail, l.owner, l.queue
    FROM guard AS h
    JOIN locked AS l ON l.mine
    WHERE NOT h.done
) AS c ON TRUE
ORDER BY c.id
