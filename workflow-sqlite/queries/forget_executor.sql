-- Forgets an executor that nobody found dead. Changes one row, or none.
-- ?1 executor.
DELETE FROM wf_executor WHERE id = ?1 AND dead = 0;
