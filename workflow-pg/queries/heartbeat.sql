-- Renews a lease that hasn't run out. Doesn't conflict with the writers' locks.
-- Returns no row when the lease is lost. Else: now, rescue (whether another executor is dead or has left runs behind),
-- next_expiry (when the lease of another one runs out next), ready (whether some run is), next_due (when the next hung-up
-- run is due: the least of each queue, found queue by queue in the index).
--
-- $1 executor id, $2 lease in microseconds
WITH RECURSIVE held AS MATERIALIZED (
    -- First the lock, then the clock: a lease that was computed before a wait would be too short.
    SELECT x.id
    FROM workflow.executors AS x
    WHERE x.id = $1
    FOR NO KEY UPDATE OF x
), renewed AS (
    UPDATE workflow.executors AS x
    SET lease_until = clock_timestamp() + $2::bigint * INTERVAL '1 microsecond'
    FROM held AS h
    WHERE x.id = h.id AND x.state = 'alive' AND x.lease_until > clock_timestamp()
    RETURNING clock_timestamp() AS now
), due (queue, wake_at) AS (
    (
        SELECT r.queue, r.wake_at
        FROM workflow.runs AS r
        WHERE r.status = 'waiting' AND r.wake_at IS NOT NULL
        ORDER BY r.queue, r.wake_at, r.id
        LIMIT 1
    )
    UNION ALL
    SELECT n.queue, n.wake_at
    FROM due AS d
    CROSS JOIN LATERAL (
        SELECT r.queue, r.wake_at
        FROM workflow.runs AS r
        WHERE r.status = 'waiting' AND r.wake_at IS NOT NULL AND r.queue > d.queue
        ORDER BY r.queue, r.wake_at, r.id
        LIMIT 1
    ) AS n
)
SELECT n.now,
       EXISTS (
           SELECT 1
           FROM workflow.executors AS x
           WHERE x.id <> $1 AND (x.state <> 'alive' OR x.lease_until <= clock_timestamp())
       ) AS rescue,
       (
           SELECT min(x.lease_until)
           FROM workflow.executors AS x
           WHERE x.id <> $1 AND x.state = 'alive'
       ) AS next_expiry,
       EXISTS (
           SELECT 1
           FROM workflow.runs AS r
           WHERE r.status = 'ready'
       ) AS ready,
       (SELECT min(d.wake_at) FROM due AS d) AS next_due
FROM renewed AS n
