-- Returns whether there are executors to rescue.
-- ?1 now.
SELECT EXISTS (SELECT 1 FROM wf_executor WHERE dead = 1 OR lease_until <= ?1) AS any_dead;
