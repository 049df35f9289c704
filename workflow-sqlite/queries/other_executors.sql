-- Returns whether there are executors to rescue, when the lease of another one runs out next, and whether a run is ready.
-- ?1 now, ?2 the executor that asks.
SELECT COALESCE(MAX(dead = 1 OR lease_until <= ?1), 0) AS any_dead,
    MIN(CASE WHEN dead = 0 AND id <> ?2 THEN lease_until END) AS next_expiry,
    EXISTS (SELECT 1 FROM wf_run WHERE status = 'ready') AS any_ready
FROM wf_executor;
