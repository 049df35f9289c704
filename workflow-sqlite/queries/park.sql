-- Parks a run. Changes one row.
-- ?1 run, ?2 code, ?3 message.
UPDATE wf_run SET status = 'parked', owner = NULL, park_code = ?2, park_message = ?3
WHERE id = ?1 AND status = 'running';
