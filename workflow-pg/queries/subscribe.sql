-- Looks for buffered events and makes subscriptions where there is none yet. Those that exist are left as they are. The topics are locked.
-- The events that are found are locked, so that no sweep takes one before its message is written.
-- Returns a row per subscription that has its event already, with the lowest such: ix (from 1), seq, id, codec, payload.
--
-- subscriptions, every one once: $1 run ids, $2 kinds, $3 names, $4 nths, $5 topic names, $6 topic keys, $7 only events with a higher seq
WITH given AS MATERIALIZED (
    SELECT g.run_id, g.kind, g.name, g.nth, g.topic_name, g.topic_key, g.after_seq, g.ix
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::bigint[])
        WITH ORDINALITY AS g (run_id, kind, name, nth, topic_name, topic_key, after_seq, ix)
    WHERE NOT EXISTS (
        SELECT 1
        FROM workflow.subscriptions AS s
        WHERE s.run_id = g.run_id AND s.kind = g.kind AND s.name = g.name AND s.nth = g.nth
    )
), found AS MATERIALIZED (
    SELECT g.ix, v.seq, v.id, v.codec, v.payload
    FROM given AS g
    CROSS JOIN LATERAL (
        SELECT e.seq, e.id, e.codec, e.payload
        FROM workflow.events AS e
        WHERE e.name = g.topic_name AND e.key = g.topic_key AND e.seq > g.after_seq
          AND e.expires_at > clock_timestamp()
        ORDER BY e.seq
        LIMIT 1
        FOR KEY SHARE OF e
    ) AS v
), made AS (
    INSERT INTO workflow.subscriptions (run_id, kind, name, nth, topic_name, topic_key, after_seq)
    SELECT g.run_id, g.kind, g.name, g.nth, g.topic_name, g.topic_key, g.after_seq
    FROM given AS g
    WHERE NOT EXISTS (SELECT 1 FROM found AS f WHERE f.ix = g.ix)
    ON CONFLICT (run_id, kind, name, nth) DO NOTHING
)
SELECT f.ix, f.seq, f.id, f.codec, f.payload
FROM found AS f
ORDER BY f.ix
