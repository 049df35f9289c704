-- Renews a lease that has not run out. Changes no row when it has.
-- ?1 executor, ?2 new end of its lease, ?3 now.
UPDATE wf_executor SET lease_until = ?2 WHERE id = ?1 AND dead = 0 AND lease_until > ?3;
