-- Emits events whose topics are locked: gives them their seq and buffers them. Events whose id
-- is still buffered are left out; a row whose retention is over is as if deleted, and makes room for its id.
-- Returns a row per subscription that ends with one of them, with the first such event: ix (of the event, from 1), seq,
-- run_id, kind, name, nth (of the subscription).
--
-- events: $1 ids, $2 names, $3 keys, $4 codecs, $5 payloads, $6 retentions in microseconds
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), fresh AS MATERIALIZED (
    SELECT g.ix, g.id, g.name, g.key, g.codec, g.payload, g.retain_us,
           t.seq + row_number() OVER (PARTITION BY g.name, g.key ORDER BY g.ix) AS seq
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bytea[], $6::bigint[])
        WITH ORDINALITY AS g (id, name, key, codec, payload, retain_us, ix)
    JOIN workflow.topics AS t ON t.name = g.name AND t.key = g.key
    CROSS JOIN clock AS k
    WHERE NOT EXISTS (SELECT 1 FROM workflow.events AS e WHERE e.id = g.id AND e.expires_at > k.now)
), buffered AS (
    INSERT INTO workflow.events (name, key, seq, id, codec, payload, emitted_at, expires_at)
    SELECT f.name, f.key, f.seq, f.id, f.codec, f.payload, k.now, k.now + f.retain_us * INTERVAL '1 microsecond'
    FROM fresh AS f
    CROSS JOIN clock AS k
    ON CONFLICT ON CONSTRAINT event_id_is_once DO UPDATE
    SET name = EXCLUDED.name, key = EXCLUDED.key, seq = EXCLUDED.seq, codec = EXCLUDED.codec,
        payload = EXCLUDED.payload, emitted_at = EXCLUDED.emitted_at, expires_at = EXCLUDED.expires_at
), counted AS (
    UPDATE workflow.topics AS t
    SET seq = n.seq
    FROM (SELECT f.name, f.key, max(f.seq) AS seq FROM fresh AS f GROUP BY f.name, f.key) AS n
    WHERE t.name = n.name AND t.key = n.key
)
SELECT DISTINCT ON (s.run_id, s.kind, s.name, s.nth) f.ix, f.seq, s.run_id, s.kind, s.name, s.nth
FROM fresh AS f
JOIN workflow.subscriptions AS s ON s.topic_name = f.name AND s.topic_key = f.key AND s.after_seq < f.seq
ORDER BY s.run_id, s.kind, s.name, s.nth, f.seq
