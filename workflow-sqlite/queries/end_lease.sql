-- Ends the lease of an executor whose process is gone. Changes one row, or none.
-- ?1 executor, ?2 now.
UPDATE wf_executor SET lease_until = ?2 WHERE id = ?1 AND dead = 0 AND lease_until > ?2;
