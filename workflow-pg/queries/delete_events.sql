-- Deletes events whose retention is over. Returns nothing; the count is the number of rows.
--
-- The time is looked at once, as in lock_expired, and each event found by its seq.
--
-- $1 how many
WITH gone AS MATERIALIZED (
    SELECT e.name, e.key, e.seq
    FROM workflow.events AS e
    WHERE e.expires_at <= (SELECT clock_timestamp())
    ORDER BY e.expires_at, e.name, e.key, e.seq
    LIMIT $1
    FOR UPDATE OF e SKIP LOCKED
)
DELETE FROM workflow.events AS e
USING gone AS g
WHERE e.name = ANY (ARRAY[g.name]) AND e.key = ANY (ARRAY[g.key]) AND e.seq = ANY (ARRAY[g.seq])
