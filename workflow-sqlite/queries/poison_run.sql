-- Parks a run that crashed too often. Changes one row.
-- ?1 run, ?2 crash count, ?3 length of its journal, ?4 code, ?5 message.
UPDATE wf_run SET status = 'parked', owner = NULL, crashes = ?2, rescued_len = ?3, park_code = ?4, park_message = ?5
WHERE id = ?1 AND status = 'running';
