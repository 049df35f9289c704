-- Returns a row when the executor is alive.
-- ?1 executor, ?2 now.
SELECT 1 AS alive FROM wf_executor WHERE id = ?1 AND dead = 0 AND lease_until > ?2;
