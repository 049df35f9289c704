-- Forgets an executor. Returns nothing.
-- ?1 executor.
DELETE FROM wf_executor WHERE id = ?1;
