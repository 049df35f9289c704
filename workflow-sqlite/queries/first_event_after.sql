-- Returns the buffered event of a topic with the lowest seq above a bound.
-- ?1 name, ?2 key, ?3 the bound, ?4 now.
SELECT seq, codec, payload FROM wf_event
WHERE name = ?1 AND key = ?2 AND seq > ?3 AND expires_at > ?4
ORDER BY seq
LIMIT 1;
