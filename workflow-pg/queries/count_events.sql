-- The first topic, by name and key, that would hold more events than it may. The topics are locked.
-- Returns (name, key) or nothing. Counts one by one only where the range of seqs doesn't rule it out already.
--
-- events to emit: $1 ids, $2 names, $3 keys
-- $4 how many events a topic may hold
WITH fresh AS MATERIALIZED (
    SELECT g.name, g.key, count(*) AS added
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS g (id, name, key)
    WHERE NOT EXISTS (SELECT 1 FROM workflow.events AS e WHERE e.id = g.id AND e.expires_at > clock_timestamp())
    GROUP BY g.name, g.key
)
SELECT f.name, f.key
FROM fresh AS f
JOIN workflow.topics AS t ON t.name = f.name AND t.key = f.key
CROSS JOIN LATERAL (
    SELECT COALESCE(t.seq + 1 - min(e.seq), 0) AS span
    FROM workflow.events AS e
    WHERE e.name = f.name AND e.key = f.key
) AS s
WHERE s.span + f.added > $4
  AND f.added + (
      SELECT count(*)
      FROM workflow.events AS e
      WHERE e.name = f.name AND e.key = f.key AND e.expires_at > clock_timestamp()
  ) > $4
ORDER BY f.name, f.key
LIMIT 1
