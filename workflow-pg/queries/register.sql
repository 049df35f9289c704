-- Registers an executor with the lock rows of its writers. Returns now.
--
-- $1 executor id, $2 name, $3 lease in microseconds, $4 how many slots, $5 presence of its process or NULL, $6 its notice in microseconds
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), registered AS (
    INSERT INTO workflow.executors (id, name, state, registered_at, lease_until, presence, notice_us)
    SELECT $1, $2, 'alive', k.now, k.now + $3::bigint * INTERVAL '1 microsecond', $5::bigint, $6
    FROM clock AS k
), slots AS (
    INSERT INTO workflow.executor_writers (executor_id, slot)
    SELECT $1, s
    FROM generate_series(0, $4::integer - 1) AS s
)
SELECT k.now
FROM clock AS k
