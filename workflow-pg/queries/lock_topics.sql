-- Makes topics where they don't exist and locks them by name and key, so that emitting and waiting take turns. The
-- rows are written, not only locked, so that it holds under every isolation level. Returns nothing.
--
-- topics, every one once: $1 names, $2 keys
INSERT INTO workflow.topics AS t (name, key, seq)
SELECT n.name, n.key, 0
FROM unnest($1::text[], $2::text[]) AS n (name, key)
ORDER BY n.name COLLATE "C", n.key COLLATE "C"
ON CONFLICT (name, key) DO UPDATE SET seq = t.seq
