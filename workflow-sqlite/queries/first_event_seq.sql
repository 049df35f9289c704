-- Returns the lowest seq that a topic holds, or NULL: an upper bound of how many, for little.
-- ?1 name, ?2 key.
SELECT MIN(seq) AS seq FROM wf_event WHERE name = ?1 AND key = ?2;
