-- Locks runs whose time has come, and some of their children, by id.
-- Returns id, and expired: whether it is one whose time has come (else it is a child of one).
--
-- $1 how many runs, and how many children
WITH expired AS MATERIALIZED (
    SELECT r.id
    FROM workflow.runs AS r
    WHERE r.expires_at IS NOT NULL AND r.expires_at <= clock_timestamp()
    ORDER BY r.expires_at, r.id
    LIMIT $1
), child AS MATERIALIZED (
    SELECT r.id
    FROM expired AS x
    JOIN workflow.runs AS r ON r.parent_id = x.id
    ORDER BY r.parent_id, r.id
    LIMIT $1
)
SELECT r.id, r.expires_at IS NOT NULL AND r.expires_at <= clock_timestamp() AS expired
FROM workflow.runs AS r
WHERE r.id IN (SELECT x.id FROM expired AS x UNION SELECT c.id FROM child AS c)
ORDER BY r.id
FOR UPDATE OF r
