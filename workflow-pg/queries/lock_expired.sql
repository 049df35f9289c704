-- Locks runs whose time has come, and some of their children, by id.
-- Returns id, and expired: whether it is one whose time has come (else it is a child of one).
--
-- The time is looked at once: compared with the clock itself, each run that has ended would be read and compared.
--
-- $1 how many runs, and how many children
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), expired AS MATERIALIZED (
    SELECT r.id
    FROM workflow.runs AS r
    WHERE r.expires_at IS NOT NULL AND r.expires_at <= (SELECT k.now FROM clock AS k)
    ORDER BY r.expires_at, r.id
    LIMIT $1
), child AS MATERIALIZED (
    SELECT c.id
    FROM expired AS x
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM workflow.runs AS r
        WHERE r.parent_id = x.id
        ORDER BY r.id
        LIMIT $1
    ) AS c
    ORDER BY x.id, c.id
    LIMIT $1
)
SELECT r.id, r.expires_at IS NOT NULL AND r.expires_at <= (SELECT k.now FROM clock AS k) AS expired
FROM workflow.runs AS r
WHERE r.id = ANY(ARRAY(SELECT x.id FROM expired AS x UNION SELECT c.id FROM child AS c))
ORDER BY r.id
FOR UPDATE OF r
